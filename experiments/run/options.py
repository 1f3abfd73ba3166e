"""Options of commands: their ranges and choices, the dataclasses that commands share, and Hydra's groups."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING as NOT_GIVEN
from dataclasses import Field, dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from steer_env.generators import GENERATORS
from steer_env.humans import HUMANS
from steer_env.humans.writers import WRITERS
from steer_env.imaging import STUDIOS
from steer_env.limits import option as limited
from steer_env.mechanisms import MECHANISMS
from steer_env.metrics import METRICS
from steer_env.registry import NoOptions, Part, Registry

CONF = Path(__file__).parents[2] / "conf"
REQUIRED: Any = MISSING


def option(default: Any = REQUIRED, *limits: Any, **named: Any) -> Any:
    """A field of a command's options, with its limits; see :func:`steer_env.limits.option`."""
    return limited(default, *limits, **named)


def choice(kind: type, default: str) -> Any:
    """A field with a value from the Hydra group of the field's name, each of that class or a subclass."""
    return field(default_factory=kind, metadata={"choice": default})


def part(name: str) -> Any:
    """A field for a part of the package, whose default is the part of that name."""
    return field(default_factory=dict, metadata={"choice": name})


@dataclass
class EnvOptions:
    """The environment, beside its parts.

    Args:
        suite: tasks to play: tiles-train-v1, tiles-val-v1 or tiles-test-v1; or csv:PATH, a file with the columns
            goal_prompt and prompt (the user's), and optionally goal_seed and initial_seed.
        rounds: interactions an episode.
        proposals: images offered in a round.
        judges: further metrics to report, which nothing is trained on, such as pixel-correlation or
            dreamsim:type=dino_vitb16; clip-alignment compares each image with its prompt instead of the goal.
        seeds: how many random seeds the model has for goals, first images and those of new prompts; 0 for all.
        choose: settings that users who write prompts choose with each prompt: seed, of the attempt's latent, and
            guidance, the scale of classifier-free guidance from 1 to 10.
        action: what a policy decides in a round: bucket, one of ten mixture scales; scale; directions, coordinates of
            each proposal in a low-frequency basis of the latent, with options as in directions:dimensions=32,leash=0.9;
            or proposals, the latents themselves. Commands that play policies give each the kind that it takes.
        observe: what a policy sees beside the round and whether the user stayed: embedding and latent of the current
            image, conditioning, the encoded prompt, and history, all that was shown and chosen. Likewise.
        goal_bank: folder that keeps the embeddings of goals and first images, 4 GiB of them, for other runs and
            processes; empty for none. With a bank each is made alone, so that results are the same to the last digit
            whatever the folder holds; without one similarities differ by about 1e-6. A run may go on with another
            folder.
    """

    suite: str = "tiles-train-v1"
    rounds: int = option(4, least=1, most=1000)
    proposals: int = option(2, least=1, most=1000)
    judges: list[Any] = option([], unique=True)
    seeds: int = option(0, least=0)
    choose: list[str] = option([], unique=True)
    action: str = "bucket"
    observe: list[str] = option([], unique=True)
    goal_bank: str = ""


def test_env() -> Any:
    """The environment of commands that measure: test tasks, judged by a second metric."""
    return field(default_factory=lambda: EnvOptions(suite="tiles-test-v1", judges=["pixel-correlation"]))


@dataclass
class ProgramOptions:
    """What every command has.

    Args:
        threads: of torch; 0 leaves its default.
    """

    threads: int = option(0, least=0, most=1024)


@dataclass
class RunOptions(ProgramOptions):
    """What every command has that leaves a folder.

    Args:
        folder: receives config.yaml, result.json and what the command leaves; by default a new one below outputs/,
            whose name is printed. A run that fails leaves error.txt.
        overwrite: delete what an earlier run left in the folder. Without it an unfinished run is resumed, and a
            finished one refused or, in a sweep, skipped.
    """

    folder: str = ""
    overwrite: bool = False


@dataclass
class PartsOptions:
    """The environment and what it is made of.

    Args:
        env: its tasks, rounds and judges.
        device: of all parts that don't name their own: cpu, cuda, cuda:1; auto for a GPU if there is one. With
            studio=ray the workers' own GPUs.
        dtype: precision of all parts that don't name their own: float32, float16 or bfloat16; auto for half
            precision of what makes images or writes, on a GPU, and float32 elsewhere and of metrics.
        generator: makes the images.
        metric: how similar images are, for users and for the reward.
        human: the simulated user who chooses.
        mechanism: how proposals are drawn.
        studio: who makes the images; what is learned or measured doesn't depend on it.
    """

    device: str = "auto"
    dtype: str = option("auto", among=("auto", "float32", "float16", "bfloat16"))
    generator: Any = part("tiles")
    metric: Any = part("tile-perceptual")
    human: Any = part("greedy")
    mechanism: Any = part("mixture")
    studio: Any = part("here")
    env: EnvOptions = field(default_factory=EnvOptions)


@dataclass
class PlayOptions(PartsOptions, RunOptions):
    """What commands share that play a suite.

    Args:
        tasks: how many tasks of the suite, from its first.
        tasks_per_batch: how many of them at a time; bounds the memory.
    """

    tasks: int = option(1000, least=2)
    tasks_per_batch: int = option(16, least=1, most=65536)
    env: EnvOptions = test_env()


@dataclass
class AgentOptions:
    """How the policy is learned; choose with agent=NAME.

    Args:
        name: what tables call the policy.
    """

    name: str = REQUIRED


@dataclass
class ThompsonOptions(AgentOptions):
    """Thompson sampling (agent=thompson, agent=thompson-eq9).

    Args:
        kind: thompson.
        cells: ``round``, Eq. 9 as printed; or ``round-stayed``, as the authors deployed it.
        prior_variance: σ² of Eq. 9.
    """

    kind: str = "thompson"
    cells: str = option("round-stayed", among=("round", "round-stayed"))
    prior_variance: float = option(1.0, least=1e-12, most=1e12)


@dataclass
class PlanningOptions(AgentOptions):
    """Thompson sampling over whole policies of (round, stayed), by planning in sampled models (agent=planning).

    Args:
        kind: planning.
        credit: what a scale accounts for: ``increment``, what its round gained, the rest being planned for;
            ``return``, everything from its round on; or ``episode``, everything, as in Eq. 9.
        pooling: whether neighbouring scales, and having stayed or not, inform each other.
        covariate: whether the similarity before a round explains a part of what the round gained.
        spread: ``root``, what a round gains spreads as the square root of its scale; or ``constant``.
    """

    kind: str = "planning"
    credit: str = option("increment", among=("increment", "return", "episode"))
    pooling: bool = True
    covariate: bool = True
    spread: str = option("root", among=("root", "constant"))


@dataclass
class SB3Options(AgentOptions):
    """A Stable-Baselines3 algorithm (agent=ppo, agent=a2c, agent=dqn, agent=recurrent-ppo, agent=sac, agent=td3).

    It learns scales from (round, stayed); or, with env.observe and env.action, a network.

    Args:
        algorithm: ppo, a2c; dqn, for buckets; sac, td3, for continuous actions; or recurrent-ppo, whose policy has a
            memory.
        reward: final, or increment for each round's share.
        settings: hyper-parameters, arguments of the algorithm's class.
        warm_start: file of experiments.proposer, for PPO and A2C on directions; empty for a network of their own.
    """

    algorithm: str = REQUIRED
    reward: str = option("increment", among=("increment", "final"))
    settings: dict[str, Any] = field(default_factory=dict)
    warm_start: str = ""


@dataclass
class LoggerOptions:
    """Where the course of a training is logged, besides its folder; choose with logger=NAME.

    At each checkpoint: mean improvement of the episodes since the last one, its standard error, and how often each
    scale was played in each round; at the start the configuration, at the end the plots.

    Args:
        kind: none; jsonl, log.jsonl in the folder; tensorboard or wandb, which need the extra of that name.
    """

    kind: str = "none"


@dataclass
class WandbOptions(LoggerOptions):
    """Weights & Biases (logger=wandb).

    Args:
        project, entity, group: where the run is shown; empty for what WANDB_PROJECT, WANDB_ENTITY and WANDB_RUN_GROUP
            say, or else for the project steer-env.
        mode: online; offline, kept in the folder for ``wandb sync``; disabled; or empty for what WANDB_MODE says, or
            else for online. Online without a server that answers becomes offline, with a warning.
        timeout: seconds to wait for the server, at the start and at the end.
    """

    project: str = ""
    entity: str = ""
    group: str = ""
    mode: str = option("", among=("", "online", "offline", "disabled"))
    timeout: float = option(10.0, least=0)


@dataclass
class LauncherOptions:
    """Where the jobs of a sweep (--multirun) run; choose with launcher=NAME.

    Args:
        kind: basic, one after another in this process; joblib, side by side on this machine; or slurm, on a cluster.
            The last two need the extra of that name.
    """

    kind: str = "basic"


@dataclass
class JoblibOptions(LauncherOptions):
    """Jobs in processes of this machine (launcher=joblib).

    Args:
        jobs: at a time; -1 for as many as there are cores.
    """

    jobs: int = option(-1, least=-1)


@dataclass
class SlurmOptions(LauncherOptions):
    """Jobs on a Slurm cluster, from a checkout and a Python that its nodes see (launcher=slurm); see docs/slurm.md.

    A job that is preempted, reaches its time limit or loses its node goes back to the queue, and then on from its last
    checkpoint. What jobs print is in .submitit, in the sweep's folder.

    Args:
        partition, account, qos, constraint: as sbatch takes them; not given, the cluster's defaults.
        minutes: time limit of a job, more than 10; an hour fits into gaps that a day doesn't.
        requeues: how many times a job that reaches its time limit goes on.
        memory_gb: main memory of a job, in GB.
        cpus: of a job; torch starts a thread on each, unless threads says otherwise.
        gpus: of a job; not given, none is requested.
        jobs: of the sweep at a time.
        setup: a shell command before each job, such as 'module load cuda'.
        sbatch: further options by their long names: '+launcher.sbatch={nice: 100}'.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    minutes: int = option(60, least=11)
    requeues: int = option(20, least=0)
    memory_gb: int = option(4, least=1)
    cpus: int = option(1, least=1)
    gpus: int | None = option(None, least=0)
    jobs: int = option(256, least=1)
    setup: str = ""
    sbatch: dict[str, Any] = field(default_factory=lambda: {"requeue": True})


@dataclass
class TrainingOptions(PartsOptions, RunOptions):
    """What commands share that train an agent.

    Args:
        episodes: in all; the paper's number is 60,000.
        batch: episodes played at a time with one posterior; 1 is the paper's sequential form.
        seed: of every random draw.
    """

    episodes: int = option(60_000, least=1)
    batch: int = option(32, least=1, most=65536)
    seed: int = option(0, least=0)
    agent: AgentOptions = choice(AgentOptions, "thompson")


@dataclass
class SentenceMetricOptions:
    """Similarity of texts: cosine of the mean of an encoder's token embeddings.

    Args:
        path: a folder with an encoder as transformers saves it, such as all-MiniLM-L6-v2, or a hub id.
        device: where it runs.
    """

    path: str = REQUIRED
    device: str = "cpu"


@dataclass
class Budget:
    """How long and how fast one stage learns.

    Args:
        steps: of the optimiser.
        batch_size: examples a step.
        learning_rate: peak of the schedule: linear warm-up over 2 %, then a cosine to zero.
        ema_decay: decay of the averaged weights that the stage returns.
        weight_decay: AdamW's.
        bfloat16: compute in bfloat16 where autocast allows it; weights stay float32.
    """

    steps: int = option(1000, least=1)
    batch_size: int = option(64, least=1)
    learning_rate: float = option(1e-3, least=0)
    ema_decay: float = option(0.999, least=0, most=1)
    weight_decay: float = option(0.01, least=0)
    bfloat16: bool = True

    def __str__(self) -> str:
        return f"{self.steps:,} steps of {self.batch_size}"


_GROUPS: dict[str, type] = {"agent": AgentOptions, "logger": LoggerOptions, "launcher": LauncherOptions}
"""Groups whose choices are files in conf/, each of one of these classes."""
PARTS: dict[str, Mapping[str, Part]] = {
    "generator": GENERATORS,
    "metric": METRICS,
    "human": HUMANS,
    "mechanism": MECHANISMS,
    "studio": STUDIOS,
    "writer": {"none": Part(NoOptions, ""), **WRITERS},
    "model": WRITERS,
}
"""Groups whose choices are the package's parts, each with its own options."""


def register_groups() -> None:
    """Give Hydra the parts, and the typed nodes that the files of conf/ fill in."""
    store = ConfigStore.instance().store
    for group, parts in PARTS.items():
        for name, member in parts.items():
            named = [("name", str, field(default=name))]
            # What is outside its limits is refused later, by its name on the command line.
            later = {"__post_init__": lambda _: None}
            node = make_dataclass(member.options.__name__, named, bases=(member.options,), namespace=later)
            store(group=group, name=name, node=node)
    for group, base in _GROUPS.items():
        for kind in kinds(base):
            store(group=group, name=f"{kind.__name__.removesuffix('Options').lower()}_schema", node=kind)


def commands() -> dict[str, str]:
    """Name of each command → its module."""
    places = sorted(Path(__file__).parents[1].iterdir())
    files = {path.stem: f"experiments.{path.stem}" for path in places if path.suffix == ".py"}
    rooms = {path.name: f"experiments.{path.name}.__main__" for path in places if (path / "__main__.py").exists()}
    return {name: module for name, module in sorted({**files, **rooms}.items()) if name != "__init__"}


def type_of(part: Field[Any]) -> str:
    """A field's type, in words."""
    return part.type if isinstance(part.type, str) else getattr(part.type, "__name__", str(part.type))


def kinds(node: Any) -> list[type]:
    """A dataclass, and its subclasses, which may stand in its place."""
    kind = node if isinstance(node, type) else type(node)
    return [kind, *kind.__subclasses__()]


def groups_of(options: type) -> dict[str, tuple[str, type]]:
    """Field with a value from a Hydra group → the default choice, and the class of all choices."""
    return {
        part.name: (part.metadata["choice"], type(default_of(part)))
        for part in fields(options)
        if "choice" in part.metadata
    }


def choices(group: str) -> Registry[None]:
    """The names that a group has."""
    names = PARTS[group] if group in PARTS else sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    return Registry(group, dict.fromkeys(names))


def default_of(part: Field[Any]) -> Any:
    """A field's default; REQUIRED where there is none."""
    if part.default_factory is not NOT_GIVEN:
        return part.default_factory()
    return REQUIRED if part.default is NOT_GIVEN else part.default


def lead_of(thing: Any) -> str:
    """A docstring up to its sections."""
    return re.split(r"\n\s*(?:Args|Returns|Raises|Attributes):", inspect.getdoc(thing) or "")[0].strip()


def documentation(node: type) -> dict[str, str]:
    """Field → its text in the "Args:" section of the docstring of the dataclass, or of one of its bases."""
    texts: dict[str, str] = {}
    for kind in filter(is_dataclass, reversed(node.__mro__)):
        section = (inspect.getdoc(kind) or "").partition("Args:\n")[2]
        for names, text in re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", section, flags=re.MULTILINE):
            texts |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return texts
