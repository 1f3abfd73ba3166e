"""A world whose images are predicted, not made: for agents that need many episodes, and are judged in the real one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch.nn.functional import normalize

from steer_env import assets
from steer_env.imaging.bank import Made
from steer_env.imaging.studio import LocalStudio, Shard
from steer_env.mechanisms.predicted import EmbeddingPredictor, predictor_folder
from steer_env.types import Generator, Metric


class PredictedStudio(LocalStudio):
    """Predicts what the metric would say of each image; goals and first images among them.

    No image is made, so there is nothing to look at, and nothing for judges to judge; they are left out. The
    generator's id says that the world isn't the real one, in traces and checkpoints too.

    Args:
        generator, metric: those that the predictor knows.
        judges, goal_bank: not used.
        predictor: folder that :meth:`steer_env.mechanisms.predicted.EmbeddingPredictor.save` wrote and that has a
            manifest; empty for the embedded model's.

    Raises:
        ValueError: a generator or a metric that the predictor doesn't know.
    """

    def __init__(
        self,
        generator: Generator,
        metric: Metric,
        judges: Mapping[str, Metric] | None = None,
        goal_bank: object = None,
        predictor: str = "",
    ) -> None:
        folder = predictor_folder(predictor)
        self._predictor = EmbeddingPredictor.load(folder).to(generator.device)
        self._glimpsing = self._predictor.known(generator, metric)
        imagined = copy.copy(generator)
        imagined.id = f"{generator.id} predicted-{assets.version(folder)}"
        super().__init__(imagined, metric)

    def _make(
        self, shards: Iterable[Shard], names: Sequence[str], keep_images: bool, preview_steps: int
    ) -> Iterator[Made]:
        if keep_images or preview_steps or set(names) != {""}:
            raise ValueError("studio=predicted makes no images to draw, to observe, to preview or to judge")
        for latents, conditioning, rows in shards:
            own = {name: values[rows] for name, values in conditioning.items()}
            expected = self._predictor(self._glimpsing.glimpse(latents, own).float())
            yield {"": normalize(expected, dim=-1)}, None
