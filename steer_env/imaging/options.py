"""Options of studios."""

from __future__ import annotations

from dataclasses import dataclass

from steer_env.limits import Limited, option


@dataclass
class ShardOptions(Limited):
    """How many images at a time.

    Args:
        shard: images made at a time, on which results depend in the last digits; 0 for the generator's max_batch.
    """

    shard: int = option(0, least=0, most=65536)


@dataclass
class LocalOptions(ShardOptions):
    """Images are made in this process.

    Args:
        overlap: embed a shard on a second stream of its GPU while the next one is generated; elsewhere it does nothing.
    """

    overlap: bool = False


@dataclass
class RayOptions(ShardOptions):
    """Images are made by workers, which are processes of a Ray cluster; see docs/ray.md.

    A worker that is lost is replaced, and its shard is made again. Workers are kept busy where a round of a batch has
    at least as many shards as there are workers.

    Args:
        count: how many workers; those that the cluster has no room for yet join when it has.
        address: of the cluster, such as auto or HOST:6379; without one, one is started on this machine and ended again.
        cpus, gpus: of a worker, in whole numbers or parts of one; generator and metrics are moved to a worker's GPU.
        patience: seconds to wait for the first worker, or for any sign of one.
    """

    count: int = option(2, least=1, most=65536)
    address: str | None = None
    cpus: float = option(1, least=0.01, most=65536)
    gpus: float = option(0, least=0, most=65536)
    patience: float = option(600, least=0, most=10_000_000)


@dataclass
class PredictedOptions:
    """A world whose images are predicted, several times faster; agents trained there are judged in the real one.

    Args:
        predictor: folder of a predictor with a manifest; empty for the embedded model's.
    """

    predictor: str = ""
