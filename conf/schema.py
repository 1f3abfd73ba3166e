"""What each experiment can be told: structured configs, so that a typo is an error that lists what exists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class EnvConfig:
    """The environment; see ``ImageSteeringEnv`` for what the names mean.

    Args:
        judges: further metrics to report, which nothing is trained on.
        generator_options: passed to the generator, such as ``max_batch`` (images at a time) or ``device``.
    """

    suite: str = "tiles-train-v1"
    generator: str = "tiles"
    metric: str = "tile-perceptual"
    human: str = "greedy"
    distribution: str = "mixture"
    rounds: int = 4
    proposals: int = 2
    judges: list[str] = field(default_factory=list)
    generator_options: dict[str, Any] = field(default_factory=dict)


@dataclass
class AgentConfig:
    """Thompson sampling; ``cells`` is ``round`` (Eq. 9 as printed) or ``round-stayed`` (as the authors deployed)."""

    name: str = "learned"
    cells: str = "round-stayed"
    prior_variance: float = 1.0


@dataclass
class TrainConfig:
    """Train a steering policy.

    Args:
        folder: receives config.yaml, checkpoint.json, traces/, policy/, result.json and the plots.
        episodes: in all; the paper's number is 60,000.
        batch: episodes played at a time with one posterior; 1 is the paper's sequential form.
        seed: of every random draw.
        overwrite: delete what the folder holds. Without it an unfinished run is resumed, a finished one refused.
        threads: of torch; 0 leaves its default.
    """

    folder: str = MISSING
    episodes: int = 60_000
    batch: int = 32
    seed: int = 0
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)


@dataclass
class EvaluateConfig:
    """Play policies on the same tasks with the same noise, and report.

    Args:
        folder: receives config.yaml, traces/, report.html and report.md.
        policies: built-in ones (random-bucket, random-session, constant:0.9, schedule:1.0,0.8,0.6,0.4, published)
            and folders of training runs.
        baseline: which of the policies' names the others are compared with.
        tasks: how many tasks of the suite, from its first.
        tasks_per_batch: how many of them at a time.
        threshold: similarity whose reaching is counted.
        strips: how many episodes to draw.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    policies: list[str] = field(default_factory=lambda: ["random-bucket"])
    baseline: str = "random bucket"
    tasks: int = 1000
    tasks_per_batch: int = 16
    threshold: float = 0.8
    strips: int = 4
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=lambda: EnvConfig(suite="tiles-test-v1", judges=["pixel-correlation"]))


@dataclass
class BenchConfig:
    """Measure the environment's speed, and compare it with a loop over public APIs.

    Args:
        sizes: numbers of environments in the batch.
        episodes: least number of episodes timed for each size.
        repeats: times each is measured; the median is reported.
        threads: of torch; 0 leaves its default.
    """

    sizes: list[int] = field(default_factory=lambda: [1, 4, 16, 64])
    episodes: int = 64
    reference_episodes: int = 8
    repeats: int = 3
    threads: int = 0
    env: EnvConfig = field(default_factory=EnvConfig)


def register() -> None:
    """Make the schemas known to Hydra; pre-training registers its own, which needs heavier imports."""
    store = ConfigStore.instance()
    for name, node in (
        ("train_schema", TrainConfig),
        ("evaluate_schema", EvaluateConfig),
        ("bench_schema", BenchConfig),
    ):
        store.store(name=name, node=node)
