"""Options of metrics."""

from __future__ import annotations

from dataclasses import dataclass

from steer_env.limits import Limited, option
from steer_env.registry import AUTO


@dataclass
class PixelOptions(Limited):
    """Correlation of two pictures' pixels after blurring.

    Args:
        grid: the picture is averaged down to grid × grid cells, for each channel.
    """

    grid: int = option(24, least=1, most=512)


@dataclass(kw_only=True)
class NetworkOptions(Limited):
    """A network with weights of other people's.

    Args:
        device: where it runs: cpu, cuda, cuda:1; auto for the environment's, which is a GPU if there is one.
        dtype: precision of its products: float32, float16 or bfloat16; auto for the environment's, and
            float32 where it says none: rounded embeddings would decide choices.
        max_batch: most images embedded at a time; bounds the memory.
    """

    device: str = AUTO
    dtype: str = AUTO
    max_batch: int = option(64, least=1, most=65536)


@dataclass(kw_only=True)
class CLIPOptions(NetworkOptions):
    """Cosine of CLIP's embeddings.

    Args:
        path: a local folder as transformers' ``CLIPModel`` and ``CLIPImageProcessor`` save it, or a hub id.

    The others are those of all networks.
    """

    path: str = "openai/clip-vit-large-patch14"


@dataclass(kw_only=True)
class DINOOptions(NetworkOptions):
    """Cosine of the embeddings of DINOv2 or DINOv3.

    Args:
        path: a local folder as transformers saves ``Dinov2Model`` or ``DINOv3ViTModel`` with its image processor, or a
            hub id.

    The others are those of all networks.
    """

    path: str = "facebook/dinov2-base"


@dataclass(kw_only=True)
class DreamSimOptions(NetworkOptions):
    """1 − DreamSim's distance (paper, B.1).

    Args:
        type: a name of :data:`steer_env.metrics.dreamsim.TYPES`.
        cache_dir: folder with the weights in the package's layout; ``dreamsim`` in torch.hub's folder by default.
        download: fetch weights that are missing, as the package does, which compares no hash.
        trust_hub_code: run the code of a repository's moving branch through ``torch.hub``; types with DINO need it.

    The others are those of all networks.
    """

    type: str = "ensemble"
    cache_dir: str | None = None
    download: bool = False
    trust_hub_code: bool = False


@dataclass(kw_only=True)
class LPIPSOptions(NetworkOptions):
    """1 − LPIPS's distance, with AlexNet as its backbone.

    Args:
        path: AlexNet's weights as torchvision publishes them; by default where torch.hub would have put them.
        pixels: a side that pictures are resized to; LPIPS was fitted to people's judgements of 64.

    The others are those of all networks.
    """

    path: str = ""
    # Fewer are too few for AlexNet.
    pixels: int = option(64, least=31, most=4096)
