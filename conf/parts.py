"""What the experiments share: the environment, the agents and the loggers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class EnvConfig:
    """The environment.

    Args:
        suite: tasks to play: tiles-train-v1, tiles-val-v1 or tiles-test-v1; or csv:PATH, a file with the columns
            goal_prompt and prompt (the user's), and if you like goal_seed and initial_seed.
        generator: tiles, the embedded model; or stable-diffusion or stable-diffusion-xl, with generator_options.path a
            folder or hub id.
        metric: tile-perceptual; pixel-correlation; dreamsim, with metric_options.type and cache_dir; clip, with
            metric_options.path a folder or hub id; or lpips, with metric_options.path a file of AlexNet's weights.
        human: greedy, who always picks the image nearest to the goal; softmax, with human_options.temperature and stay;
            hesitant, with human_options.threshold; or mixture, each episode's user drawn from human_options.members,
            such as [{name: greedy, weight: 0.6}, {name: softmax, weight: 0.4, temperature: 0.13}].
        distribution: how proposals are drawn: mixture, the paper's Eq. 8; antithetic, the same with opposite noises;
            orthogonal, with noises orthogonal to one another; memory, whose noise leans towards what was preferred so
            far, with distribution_options.strength; preferential, Bayesian optimisation on the latent, with
            distribution_options candidates, length and temperature; bayesian, which infers the goal from the choices,
            with distribution_options pool, temperature and metric; see docs/mechanisms.md.
        rounds: interactions an episode.
        proposals: images offered in a round.
        judges: further metrics to report, which nothing is trained on; clip-alignment compares each image with its
            prompt instead of the goal.
        seeds: how many random seeds the model has for goals, first images and those of new prompts; 0 for all.
        choose: what users who write prompts may set besides: seed, of each attempt's latent, and guidance, the scale of
            classifier-free guidance from 1 to 10; they keep what has just come closer, else go back or try another.
        goal_bank: folder that keeps the embeddings of goals and first images, 4 GiB of them, for other runs and
            processes to find there; empty for none. Each is then made alone, so that results are the same to the last
            digit whatever the folder holds; from those without a bank similarities differ by about 1e-6. A run may go
            on with another folder.
        generator_options: passed to the generator, such as steps, guidance_scale, solver (ddim, dpm++, unipc, euler),
            device, dtype, or max_batch (images made at a time; bounds the memory; 0 for what fits into a GPU's). For
            speed on a GPU: channels_last, compile (default, reduce-overhead, max-autotune), tf32, and decode_batch
            (images decoded at a time).
        metric_options, human_options, distribution_options: the same for the other parts.
        judge_options: the same of each judge that has any, by its name.
    """

    suite: str = "tiles-train-v1"
    generator: str = "tiles"
    metric: str = "tile-perceptual"
    human: str = "greedy"
    distribution: str = "mixture"
    rounds: int = 4
    proposals: int = 2
    judges: list[str] = field(default_factory=list)
    seeds: int = 0
    choose: list[str] = field(default_factory=list)
    goal_bank: str = ""
    generator_options: dict[str, Any] = field(default_factory=dict)
    metric_options: dict[str, Any] = field(default_factory=dict)
    human_options: dict[str, Any] = field(default_factory=dict)
    distribution_options: dict[str, Any] = field(default_factory=dict)
    judge_options: dict[str, Any] = field(default_factory=dict)


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
        kind: thompson.
        cells: ``round``, Eq. 9 as printed; or ``round-stayed``, as the authors deployed it.
        prior_variance: σ² of Eq. 9.
    """

    kind: str = "thompson"
    cells: str = "round-stayed"
    prior_variance: float = 1.0


@dataclass
class PlanningConfig(AgentConfig):
    """Thompson sampling over whole policies of (round, stayed), by planning in sampled models (agent=planning).

    Args:
        kind: planning.
        credit: what a scale accounts for: ``increment``, what its round gained, the rest being planned for;
            ``return``, everything from its round on; or ``episode``, everything, as in Eq. 9.
        pooling: whether neighbouring scales, and having stayed or not, tell about each other.
        covariate: whether the similarity before a round explains a part of what the round gained.
        spread: ``root``, what a round gains spreads as the square root of its scale; or ``constant``.
    """

    kind: str = "planning"
    credit: str = "increment"
    pooling: bool = True
    covariate: bool = True
    spread: str = "root"


@dataclass
class SB3Config(AgentConfig):
    """A Stable-Baselines3 algorithm on (round, stayed) (agent=ppo, agent=a2c, agent=dqn, agent=recurrent-ppo).

    Args:
        algorithm: ppo, a2c, dqn or recurrent-ppo, whose policy has a memory.
        reward: final, or increment for each round's share.
        settings: hyper-parameters, arguments of the algorithm's class.
    """

    algorithm: str = MISSING
    reward: str = "increment"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class LoggerConfig:
    """Where the course of a training is logged, besides its folder; choose with logger=NAME.

    At each checkpoint: mean improvement of the episodes since the last one, its standard error, and how often each
    scale was played in each round; at the start the configuration, at the end the plots.

    Args:
        kind: none; jsonl, log.jsonl in the folder; tensorboard or wandb, which need the extra of that name.
    """

    kind: str = "none"


@dataclass
class WandbConfig(LoggerConfig):
    """Weights & Biases (logger=wandb).

    Args:
        project, entity, group: where the run is shown.
        mode: online; offline, kept in the folder for ``wandb sync``; or disabled. Online without a server that answers
            becomes offline, with a warning.
        timeout: seconds to wait for the server, at the start and at the end.
    """

    project: str = "steer-env"
    entity: str = ""
    group: str = ""
    mode: str = "online"
    timeout: float = 10.0


@dataclass
class StudioConfig:
    """Who makes the images; choose with studio=NAME. What is learned or measured doesn't depend on it.

    Args:
        name: here, this process; or ray, many processes, on one machine or many, which needs the extra ray.
        shard: images made at a time, on which results depend in the last digits; 0 for the generator's max_batch.
    """

    name: str = "here"
    shard: int = 0


@dataclass
class RayConfig(StudioConfig):
    """Workers, which are processes of a Ray cluster (studio=ray); see docs/ray.md.

    A worker that is lost is replaced, and the shard that it was making is made again. They are kept busy where a round
    of a batch has at least as many shards as there are workers.

    Args:
        count: how many; those that the cluster has no room for yet join when it has.
        address: of the cluster, such as auto or HOST:6379; not given, one is started on this machine and ended again.
        cpus, gpus: of a worker, in whole numbers or parts of one; generator and metrics are moved to a worker's GPU.
        patience: seconds to wait for the first worker, or for any sign of one.
    """

    count: int = 2
    address: str | None = None
    cpus: float = 1
    gpus: float = 0
    patience: float = 600


@dataclass
class WriterConfig:
    """A language model; choose with writer=NAME, or model=NAME where one is steered.

    It writes the prompts of simulated users: of written:blind and written:feedback, or of the users of headlines, whose
    prompts the steered model itself writes if there is none.

    Args:
        kind: none; endpoint, a server that speaks OpenAI's protocol, which needs the extra endpoint; or local, a causal
            language model that transformers reads.
    """

    kind: str = "none"


@dataclass
class EndpointConfig(WriterConfig):
    """A server that speaks OpenAI's protocol (writer=endpoint, model=endpoint).

    Args:
        model: as the server calls it.
        base_url: such as http://localhost:8000/v1; not given, OpenAI's own.
        key_variable: environment variable that holds the key.
        temperature, max_tokens: of the answers.
        timeout: seconds to wait for one.
        retries: after a lost connection, a timeout, or a refusal for the time being.
        per_minute: most requests; 0 for no limit.
        cache: file that keeps every answer, so that a rerun asks nothing again; empty for none.
    """

    model: str = MISSING
    base_url: str = ""
    key_variable: str = "OPENAI_API_KEY"
    temperature: float = 1.0
    max_tokens: int = 300
    timeout: float = 60.0
    retries: int = 5
    per_minute: float = 0.0
    cache: str = "outputs/answers.sqlite"


@dataclass
class LocalConfig(WriterConfig):
    """A causal language model on this machine (writer=local, model=local).

    Args:
        path: a folder, or a hub id.
        device, dtype: where it runs, and the precision of its weights.
        temperature, max_tokens: of the answers.
    """

    path: str = MISSING
    device: str = "cpu"
    dtype: str = "float32"
    temperature: float = 1.0
    max_tokens: int = 300


@dataclass
class SentenceMetricConfig:
    """Similarity of texts: cosine of the mean of an encoder's token embeddings.

    Args:
        path: a folder with an encoder as transformers saves it, such as all-MiniLM-L6-v2, or a hub id.
        device: where it runs.
    """

    path: str = MISSING
    device: str = "cpu"
