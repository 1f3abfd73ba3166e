"""LPIPS, through the package of its authors."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from steer_env.compatibility import mend_torchvision
from steer_env.fingerprints import fingerprint
from steer_env.metrics.checkpoints import CheckpointError, NetworkMetric, check_torch_file, resize, tensors_only
from steer_env.metrics.options import LPIPSOptions

_FILE = "alexnet-owt-7be5be79.pth"
_ADVICE = f"Download https://download.pytorch.org/models/{_FILE}, and name it as path"


class LPIPSMetric(NetworkMetric):
    """1 − LPIPS's distance, with AlexNet as its backbone (version 0.1).

    The distance is a weighted squared distance of normalised features, averaged over the picture at each of five
    layers. So an embedding holds all features, times the roots of their weights, and the similarity is 1 − |a − b|²,
    not a cosine, and has no lower bound. Pictures are resized beforehand, since an embedding grows with them: it has
    31,872 numbers at 64 pixels.

    The weights of the layers come with the package. AlexNet's are never fetched, and are read with everything but
    tensors and plain containers refused.

    Args:
        path, **options: see :class:`steer_env.metrics.options.LPIPSOptions`.

    Raises:
        ImportError: the package isn't installed.
        ValueError: pictures too small for AlexNet, or see :class:`NetworkMetric`.
        CheckpointError: weights that are missing, damaged, pickled, or not AlexNet's.
    """

    def __init__(self, path: str = LPIPSOptions.path, **options: Any) -> None:
        chosen = LPIPSOptions(path=path, **options)
        super().__init__(chosen)
        pixels = chosen.pixels
        self._size = (pixels, pixels)
        self._model = _load(Path(path).expanduser() if path else Path(torch.hub.get_dir()) / "checkpoints" / _FILE)
        self.id = f"lpips-alex-{pixels}-{fingerprint(self._model.state_dict())[:8]}{self._suffix}"
        self._model = self._model.to(self.device)
        self.dimensions: int = self.embed(torch.zeros(1, 3, pixels, pixels)).shape[1]

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """1 − |a − b|², for embeddings of numbers between −1 and 1."""
        return 1 - (a - b).square().sum(dim=-1)

    def _embed(self, images: Tensor) -> Tensor:
        model = self._model
        with self._autocast():
            layers = model.net(model.scaling_layer(resize(images, self._size) * 2 - 1))
        scaled = []
        for features, head in zip(layers, model.lins, strict=True):
            # Their norm as the package adds its 1e-10: to the root, where normalize would take a maximum.
            unit = features.float() / (features.float().square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
            area = features.shape[2] * features.shape[3]
            scaled.append((unit * (head.model[-1].weight / area).sqrt()).flatten(1))
        return torch.cat(scaled, dim=1)


def _load(path: Path) -> Any:
    mend_torchvision()
    try:
        from lpips import LPIPS
    except ImportError as error:
        raise ImportError("metric=lpips needs a package that isn't here: pip install 'steer-env[lpips]'") from error
    if not path.is_file():
        raise CheckpointError(f"LPIPS needs AlexNet's weights, and {path} isn't there. {_ADVICE}")
    check_torch_file(path, _ADVICE)
    # The package draws a random AlexNet first, and torchvision warns of how.
    with torch.random.fork_rng(devices=[]), catch_warnings(), tensors_only():
        simplefilter("ignore")
        model = LPIPS(net="alex", pnet_rand=True, verbose=False).requires_grad_(False)
        _fill(model.net, torch.load(path, map_location="cpu", weights_only=True), path)
    return model


def _fill(backbone: nn.Module, published: Any, path: Path) -> None:
    """Put torchvision's weights into the package's slices of the same layers."""
    # slice2.3.weight is torchvision's features.3.weight.
    names = {own: f"features.{own.partition('.')[2]}" for own in backbone.state_dict()}
    try:
        backbone.load_state_dict({own: published[name] for own, name in names.items()})
    except (KeyError, TypeError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"{path} doesn't hold AlexNet's weights under torchvision's names. {_ADVICE}") from error
