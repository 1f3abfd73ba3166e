"""What each experiment can be told: structured configs, so that a typo is an error that lists what exists."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import MISSING as NOT_GIVEN
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from steer_env.registry import Registry


@dataclass
class EnvConfig:
    """The environment.

    Args:
        suite: tasks to play: tiles-train-v1, tiles-val-v1 or tiles-test-v1.
        generator: tiles, the embedded model; or stable-diffusion, with generator_options.path a folder or hub id.
        metric: tile-perceptual, or pixel-correlation.
        human: greedy, who always picks the image nearest to the goal; softmax, with human_options.temperature; or
            hesitant, with human_options.threshold.
        distribution: how proposals are drawn: mixture, the paper's Eq. 8; antithetic, the same with opposite noises;
            bayesian, which infers the goal from the choices, with distribution_options pool, temperature and metric.
        rounds: interactions an episode.
        proposals: images offered in a round.
        judges: further metrics to report, which nothing is trained on.
        generator_options: passed to the generator, such as steps, guidance_scale, device, or max_batch (images made
            at a time; bounds the memory).
        metric_options, human_options, distribution_options: the same for the other parts.
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
    metric_options: dict[str, Any] = field(default_factory=dict)
    human_options: dict[str, Any] = field(default_factory=dict)
    distribution_options: dict[str, Any] = field(default_factory=dict)


@dataclass
class AgentConfig:
    """How the policy is learned; choose with agent=NAME.

    Args:
        name: what tables call the policy.
    """

    name: str = MISSING


@dataclass
class ThompsonConfig(AgentConfig):
    """Thompson sampling (agent=thompson, agent=thompson-eq9).

    Args:
        cells: ``round``, Eq. 9 as printed; or ``round-stayed``, as the authors deployed it.
        prior_variance: σ² of Eq. 9.
    """

    cells: str = "round-stayed"
    prior_variance: float = 1.0


@dataclass
class SB3Config(AgentConfig):
    """A Stable-Baselines3 algorithm on (round, stayed) (agent=ppo, agent=a2c, agent=dqn).

    Args:
        algorithm: ppo, a2c or dqn.
        reward: final, or increment for each round's share.
        settings: hyper-parameters, arguments of the algorithm's class.
    """

    algorithm: str = MISSING
    reward: str = "increment"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class TrainConfig:
    """Train a steering policy.

    Args:
        folder: receives config.yaml, checkpoint.json, traces/, policy/, result.json and the plots.
        episodes: in all; the paper's number is 60,000.
        batch: episodes played at a time with one posterior; 1 is the paper's sequential form.
        seed: of every random draw.
        overwrite: delete what an earlier run left in the folder. Without it an unfinished run is resumed, and a
            finished one refused.
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
        folder: receives config.yaml, traces/, report.html, report.md and figures/.
        policies: built-in ones (random-bucket, random-session, constant:0.9, schedule:1.0-0.8-0.6-0.4, published),
            folders of training runs, and users who write prompts instead of choosing images: text:attribute, who
            names one more attribute of the goal in each attempt; text:blind, who says the first prompt in other
            words; text:feedback, who changes the prompt of the most similar image.
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
class CompareConfig:
    """Report on several evaluations together, such as those of different steering distributions or users.

    Args:
        folder: receives config.yaml, report.html, report.md and figures/.
        evaluations: folders of experiments.evaluate, on the same suite with the same generator and metric.
        baseline: which row the others are compared with: a policy's name, followed, where they vary, by mechanism and
            user: "random bucket, mixture".
        threshold: similarity whose reaching is counted.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    evaluations: list[str] = MISSING
    baseline: str = "random bucket, mixture"
    threshold: float = 0.8
    overwrite: bool = False
    threads: int = 0


@dataclass
class DecomposeConfig:
    """Split generators' difference in steerability into steering mechanism and producible set (Equation 5).

    Args:
        folder: receives config.yaml, report.html, report.md and figures/.
        evaluations: folders of experiments.evaluate, each with another generator or generator_options, on the same
            suite with one and the same policy, user and metric; the first is the baseline.
        folds: of the cross-validation over tasks.
        components: principal components of the features that the terms rest on.
        seed: of the bootstrap.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    evaluations: list[str] = MISSING
    folds: int = 5
    components: int = 8
    seed: int = 0
    overwrite: bool = False
    threads: int = 0


@dataclass
class BenchConfig:
    """Measure the environment's speed, and compare it with a loop over public APIs.

    Args:
        sizes: numbers of environments in the batch.
        episodes: least number of episodes timed for each size.
        reference_episodes: episodes of the plain loop, one image and one comparison at a time.
        repeats: times each is measured; the median is reported.
        threads: of torch; 0 leaves its default.
    """

    sizes: list[int] = field(default_factory=lambda: [1, 4, 16, 64])
    episodes: int = 64
    reference_episodes: int = 8
    repeats: int = 3
    threads: int = 0
    env: EnvConfig = field(default_factory=EnvConfig)


@dataclass
class StudyConfig:
    """Print the paper's tables for the real people of its authors' released study, beside what the paper prints.

    Args:
        path: a checkout of the authors' repository, https://github.com/SarahBentley/Steerability, or a folder with its
            image_generation/data and LLMs/data. Nothing is downloaded.
        folder: receives config.yaml, traces/, report.html and report.md.
        overwrite, threads: as in training.
    """

    path: str = MISSING
    folder: str = MISSING
    overwrite: bool = False
    threads: int = 0


SCHEMAS: dict[str, type] = {}
"""Experiment → its schema, for what has been stored."""


def store(name: str, node: type) -> None:
    """Give Hydra a schema as ``NAME_schema``, and its documentation as the ``--help`` called ``hydra/help: NAME``."""
    SCHEMAS[name] = node
    ConfigStore.instance().store(name=f"{name}_schema", node=node)
    help_node = {"app_name": f"experiments.{name}", "header": "", "footer": "", "template": _help(node)}
    ConfigStore.instance().store(group="hydra/help", name=name, node=help_node)


def register() -> None:
    """Store the schemas; pre-training stores its own, which needs heavier imports."""
    for kind in AgentConfig.__subclasses__():
        schema_name = kind.__name__.removesuffix("Config").lower() + "_schema"
        ConfigStore.instance().store(group="agent", name=schema_name, node=kind)
    schemas: dict[str, type] = {
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
        "compare": CompareConfig,
        "decompose": DecomposeConfig,
        "bench": BenchConfig,
        "study": StudyConfig,
    }
    for name, node in schemas.items():
        store(name, node)


def check_overrides(name: str, overrides: Sequence[str]) -> None:
    """Refuse an override of an option that doesn't exist; Hydra itself wouldn't say which ones do.

    Raises:
        ValueError: naming the option, the nearest one that exists, and all that exist in its place.
    """
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if "=" not in override or override.startswith("-") or key.startswith(("hydra.", "hydra/")):
            continue
        place: Any = SCHEMAS[name]
        for part in key.partition("@")[0].split("."):
            if not is_dataclass(place):
                break
            options = {f.name: _default(f) for kind in _kinds(place) for f in fields(kind)}
            place = Registry(f"option of {name}", options)[part]


def _help(node: type) -> str:
    """The documentation of a configuration and of those inside it, and Hydra's own listing of choices and values."""
    places: dict[type, list[str]] = {}
    _collect(node, "", places)
    parts = [str(inspect.getdoc(node))]
    for inner, names in places.items():
        if names != [""]:
            title = ", ".join(names)
            parts.append(f"{title}\n{'-' * len(title)}\n{inspect.getdoc(inner)}")
    choices = "== Choices (group=option) ==\n\n$APP_CONFIG_GROUPS"
    return "\n\n".join([*parts, choices, "== Config ==\nOverride anything (foo.bar=value)\n\n$CONFIG"]) + "\n"


def _default(part: Field[Any]) -> Any:
    return part.default_factory() if part.default_factory is not NOT_GIVEN else part.default


def _collect(node: type, place: str, places: dict[type, list[str]]) -> None:
    places.setdefault(node, []).append(place)
    for part in fields(node):
        inner = _default(part)
        if is_dataclass(inner):
            for kind in _kinds(inner):
                _collect(kind, f"{place}.{part.name}".lstrip("."), places)


def _kinds(node: Any) -> list[type]:
    """A schema, and those that may stand in its place."""
    kind = node if isinstance(node, type) else type(node)
    return [kind, *kind.__subclasses__()]
