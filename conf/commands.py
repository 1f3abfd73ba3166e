"""What each experiment can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from conf.launchers import LauncherConfig
from conf.parts import (
    AgentConfig,
    CollectorsConfig,
    EnvConfig,
    LoggerConfig,
    SentenceMetricConfig,
    WriterConfig,
)


@dataclass
class TrainConfig:
    """Train a steering policy.

    Args:
        folder: receives config.yaml, checkpoint.json, traces/, policy/, result.json and the plots. With --multirun
            each job of the sweep has a folder below it, named by its options; the same command goes on with an
            interrupted sweep. A run that fails leaves error.txt.
        episodes: in all; the paper's number is 60,000.
        batch: episodes played at a time with one posterior; 1 is the paper's sequential form.
        parts: in how many of them a batch is played, by one collector after another or by several at once.
        lag: how many batches behind the posterior may be, and always is; 0 is synchronous. With it the collectors
            needn't wait for the slowest of a batch.
        seed: of every random draw.
        overwrite: delete what an earlier run left in the folder. Without it an unfinished run is resumed, and a
            finished one refused or, in a sweep, skipped.
        threads: of torch; 0 leaves its default.
    """

    folder: str = MISSING
    episodes: int = 60_000
    batch: int = 32
    parts: int = 1
    lag: int = 0
    seed: int = 0
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    collectors: CollectorsConfig = field(default_factory=CollectorsConfig)


def _test_suite() -> EnvConfig:
    return EnvConfig(suite="tiles-test-v1", judges=["pixel-correlation"])


@dataclass
class EvaluateConfig:
    """Play policies on the same tasks with the same noise, and report.

    Args:
        folder: receives config.yaml, traces/, report.html, report.md and figures/.
        policies: built-in ones (random-bucket, random-session, constant:0.9, schedule:1.0-0.8-0.6-0.4, published,
            best-known), folders of training runs, and users who write prompts instead of choosing images:
            text:attribute, who names one more attribute of the goal in each attempt; text:blind, who says the first
            prompt in other words; text:feedback, who changes the prompt of the most similar image. These three know
            tilings alone; on other images a language model writes: written:blind, written:feedback, with writer=.
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
    env: EnvConfig = field(default_factory=_test_suite)
    writer: WriterConfig = field(default_factory=WriterConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    collectors: CollectorsConfig = field(default_factory=CollectorsConfig)


@dataclass
class EfficiencyConfig:
    """Train several agents several times, and report how many episodes each needs.

    Args:
        folder: receives config.yaml, training/, traces/, report.html, report.md and figures/.
        agents: bandits, as in agent=NAME of training, and variants of them, such as 'planning:pooling=false'; the
            first is the one that the others are compared with.
        seeds: trainings of each, with seeds from 0.
        checkpoints: numbers of training episodes after which the learned policies are evaluated; multiples of batch.
        batch: episodes trained at a time with one posterior.
        best: the best known policy, a built-in one or a folder, which must be a table over (round, stayed).
        share: of its improvement that is to be reached.
        suite: of the tasks that policies are evaluated on; env.suite has those that they are trained on.
        tasks: how many of them, from its first.
        tasks_per_batch: how many of them at a time.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    agents: list[str] = field(default_factory=lambda: ["thompson", "planning"])
    seeds: int = 10
    checkpoints: list[int] = field(default_factory=lambda: [32, 64, 128, 256, 512, 1024, 2048])
    batch: int = 32
    best: str = "best-known"
    share: float = 0.95
    suite: str = "tiles-test-v1"
    tasks: int = 1000
    tasks_per_batch: int = 16
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=EnvConfig)


@dataclass
class TuneConfig:
    """Tune an agent's hyper-parameters by trials of Optuna's: each a training, and a game on each validation task.

    The first trial has the agent's own values, the next few are drawn at random, and the others by Optuna's TPE.

    Args:
        folder: receives config.yaml, training/ with the journal and a folder a trial, result.json, report.html,
            report.md, figures/, and agent/tuned.yaml, the best setting as a configuration: with
            hydra.searchpath=[file://FOLDER], agent=tuned trains it. The same command goes on with a stopped tuning.
        trials: in all.
        space: what is tuned, by default conf/space/NAME.yaml of agent=NAME: for each option of the agent choices, or
            low, high and log, such as space.settings.learning_rate.high=0.1.
        pruner: ends trainings at a checkpoint where the last episodes improved less than in other trials: median, less
            than the median of them; halving, less than the best quarter; none.
        episodes: of each training; a checkpoint is 8 batches.
        suite: tasks that the trials are judged by; env.suite has those that they are trained on. No test suite.
        tasks: how many of them, from its first.
        tasks_per_batch: how many of them at a time.
        batch, parts, lag, seed, overwrite, threads: as in training; the seed is also that of the search.
    """

    folder: str = MISSING
    trials: int = 20
    space: dict[str, Any] = field(default_factory=dict)
    pruner: str = "median"
    episodes: int = 2048
    suite: str = "tiles-val-v1"
    tasks: int = 400
    tasks_per_batch: int = 16
    batch: int = 32
    parts: int = 1
    lag: int = 0
    seed: int = 0
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    collectors: CollectorsConfig = field(default_factory=CollectorsConfig)


@dataclass
class BestKnownConfig:
    """Find the best policy that can be had from far more episodes than one training plays, for tables to show regret.

    Each agent learns from the episodes of all the trainings, whoever played them; what they would play is raced on
    validation tasks against policies made by hand, and the best is kept.

    Args:
        folder: receives config.yaml, traces/, policy/, report.html, report.md and figures/.
        trainings: folders of finished trainings with the same parts, or patterns such as outputs/sweep/*.
        agents: bandits that learn from episodes of others, as in experiments.efficiency.
        policies: tables over (round, stayed) to race against, such as schedules.
        tasks: how many tasks of env.suite, from its first.
        tasks_per_batch: how many of them at a time.
        threshold: similarity whose reaching is counted.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    trainings: list[str] = MISSING
    agents: list[str] = field(
        default_factory=lambda: ["planning", "planning:pooling=false", "planning:pooling=false,covariate=false"]
    )
    policies: list[str] = field(default_factory=lambda: ["schedule:1.0-1.0-0.8-0.6", "schedule:1.0-0.9-0.7-0.5"])
    tasks: int = 1000
    tasks_per_batch: int = 16
    threshold: float = 0.8
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=lambda: EnvConfig(suite="tiles-val-v1"))


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
class LotteryConfig:
    """How much of a user's improvement blind attempts reach by luck (Figure 3, right).

    Args:
        folder: receives config.yaml, report.html, report.md and figures/.
        evaluation: folder of a finished evaluation in which the user steered.
        user: the policy or prompter there that saw the goal.
        blind_evaluation: folder of a finished evaluation on the same tasks, with env.rounds as large as the largest
            number of attempts.
        blind: the prompter there that didn't see it.
        attempts: numbers of blind attempts.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    evaluation: str = MISSING
    user: str = "text attribute"
    blind_evaluation: str = MISSING
    blind: str = "text blind"
    attempts: list[int] = field(default_factory=lambda: [4, 7, 10, 20])
    overwrite: bool = False
    threads: int = 0


@dataclass
class BenchmarkConfig:
    """Benchmark several generators: the paper's Tables 1, 2, 5 and 6 and Figures 5 and 6 for them, on one page.

    Args:
        folder: receives config.yaml, traces/, report.html, report.md and figures/.
        generators: such as tiles, or with options in place of env.generator_options 'tiles:steps=1,guidance_scale=2' or
            'stable-diffusion:path=/path/to/model'. On the first one seeds and guidance scales are chosen.
        policies: as for experiments.evaluate. The first must write prompts: all but Table 1 is about it.
        choose: what it may choose besides, one after the other: seed (Table 5), guidance (Table 6).
        alignment: what compares images with prompts (Figure 6): drawn, by drawings of tilings' captions; a name among
            env.judges, such as clip-alignment; or empty for nothing.
        tasks: how many tasks of env.suite, from its first.
        tasks_per_batch: how many of them at a time.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    generators: list[str] = field(
        default_factory=lambda: ["tiles", "tiles:steps=1", "tiles:steps=4", "tiles:guidance_scale=2"]
    )
    policies: list[str] = field(default_factory=lambda: ["text:attribute", "random-session", "best-known"])
    choose: list[str] = field(default_factory=lambda: ["seed", "guidance"])
    alignment: str = "drawn"
    tasks: int = 500
    tasks_per_batch: int = 16
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=_test_suite)


@dataclass
class MechanismsConfig:
    """Compare steering mechanisms on the same tasks: what each gains, for several users, at how many images.

    Args:
        folder: receives config.yaml, traces/, report.html and report.md.
        mechanisms: steering distributions as env.distribution has them, with options such as 'bayesian:pool=192' or
            'bayesian:metric=pixel-correlation'. The first is what the others are compared with.
        users: simulated users as env.human has them, with options such as 'softmax:temperature=0.05'.
        policy: which mixture scales are played, for mechanisms that heed them: a built-in policy or a folder.
        tasks: how many tasks of env.suite, from its first.
        tasks_per_batch: how many of them at a time.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    mechanisms: list[str] = field(
        default_factory=lambda: ["mixture", "antithetic", "bayesian", "bayesian:metric=pixel-correlation"]
    )
    users: list[str] = field(default_factory=lambda: ["greedy", "softmax:temperature=0.05"])
    policy: str = "schedule:1.0-1.0-0.8-0.6"
    tasks: int = 1000
    tasks_per_batch: int = 16
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=_test_suite)


@dataclass
class ProducibilityConfig:
    """Restrict a generator to few random seeds: how well it is then steered, and what it can still produce (Figure 7).

    Steerability is measured by text steering towards goals of the generator's own, producibility by the closest of
    several images to goals that another generator made.

    Args:
        folder: receives config.yaml, traces/, result.json, report.html, report.md and figures/.
        seeds: numbers of random seeds that the generator has; 0 for all that there are.
        user: who steers, a prompter as for experiments.evaluate.
        tasks: how many tasks of env.suite are steered.
        tasks_per_batch: how many of them at a time.
        goals: how many goals are searched for, those of the first tasks.
        drawn: whether they are drawn by the renderer of tilings; else env.generator makes them with goal_options.
        goal_options: passed to the generator of the goals in place of env.generator_options, such as steps.
        variations: of the goal's prompt, itself among them, that are tried with each seed.
        tries: images made for a goal; where there are more pairs of variation and seed, so many are chosen at random.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3, 0])
    user: str = "text:attribute"
    tasks: int = 500
    tasks_per_batch: int = 16
    goals: int = 200
    drawn: bool = True
    goal_options: dict[str, Any] = field(default_factory=dict)
    variations: int = 10
    tries: int = 30
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=_test_suite)


@dataclass
class LeaderboardConfig:
    """Rank policies by how much they improve on the same tasks with the same noise, as a page and as JSON.

    Trainings of one agent that differ in nothing but their seed are one row. A trained policy with a single training
    seed is shown below the others without a rank: it may have been a lucky one. Each mechanism is a track of its own:
    env.distribution says which one the policies are ranked in, and users who write prompts are ranked among themselves.

    Args:
        folder: receives config.yaml, traces/, report.html, report.md, leaderboard.json and figures/.
        policies: as for experiments.evaluate; a pattern such as outputs/sweep/* stands for all folders of training runs
            or submissions that match it.
        tasks: how many tasks of the suite, from its first.
        tasks_per_batch: how many of them at a time.
        robust_human: a noisy user, such as softmax, with whom all policies are played once more for a column of their
            own; empty for none.
        robust_human_options: passed to it, such as temperature.
        resamples: of the bootstrap.
        timed_tasks: how many tasks each policy is played on alone for the wall time of an episode.
        strips: how many episodes of the best policy to draw.
        claim: whether to write the score of each stored policy into claims/, a file each, for experiments.verify.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    policies: list[str] = field(
        default_factory=lambda: [
            "random-bucket",
            "random-session",
            "constant:0.9",
            "published",
            "best-known",
        ]
    )
    tasks: int = 1000
    tasks_per_batch: int = 16
    robust_human: str = ""
    robust_human_options: dict[str, Any] = field(default_factory=dict)
    resamples: int = 2000
    timed_tasks: int = 16
    strips: int = 4
    claim: bool = False
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=_test_suite)
    collectors: CollectorsConfig = field(default_factory=CollectorsConfig)


@dataclass
class VerifyConfig:
    """Play a submitted policy, and say whether the scores that are claimed of it hold.

    The exit status is 0 if the claimed mean improvement is the one found: up to rounding where tasks and noise are the
    claim's own, else by a z-test of their difference at 5 %; otherwise it is 1. Tasks and noise are chosen here,
    whatever is claimed. Nothing in the submission is run, and nothing is written there.

    Args:
        submission: a policy's folder, or that of a training run.
        folder: receives config.yaml, traces/ and result.json with the verdict.
        claim: a file that experiments.leaderboard left in claims/, a mean improvement such as 0.21, or empty for none.
        tasks: how many of env.suite, from its first.
        noise: 0 for the noise that experiments.leaderboard plays with; another number for fresh noise, against a policy
            that was chosen for its luck with that one.
        tasks_per_batch: how many tasks at a time.
        overwrite, threads: as in training.
    """

    submission: str = MISSING
    folder: str = MISSING
    claim: str = ""
    tasks: int = 200
    noise: int = 1
    tasks_per_batch: int = 16
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=_test_suite)


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
class ThroughputConfig:
    """Measure a generator of Stable Diffusion's architecture against the plain pipeline and against the hardware.

    Weights are random, which makes no difference to the speed. The plain pipeline makes one image a call, as its
    documentation shows. The floor is the time that the floating-point operations of an image, counted, would take at
    the rate at which the device multiplies large matrices, measured.

    Args:
        size: sd14, Stable Diffusion 1.4's sizes; or small, of the same parts, for machines without a GPU.
        device: such as cuda or cpu.
        dtype: of the weights: float32, float16 or bfloat16.
        steps: of the solver.
        guidance_scale: of classifier-free guidance, which doubles the denoiser's work above 1.
        channels_last, compile, tf32, decode_batch: what makes a generator faster, as in env.generator_options; the
            plain pipeline is measured without.
        batches: numbers of images made at a time; with 0 among them, at most as many as fit into the GPU's memory.
        repeats: times each is measured; the median is reported.
        threads: of torch; 0 leaves its default.
    """

    size: str = "sd14"
    device: str = "cuda"
    dtype: str = "bfloat16"
    steps: int = 20
    guidance_scale: float = 7.5
    channels_last: bool = False
    compile: str = ""
    tf32: bool = False
    decode_batch: int = 0
    batches: list[int] = field(default_factory=lambda: [1, 4, 16, 64])
    repeats: int = 3
    threads: int = 0


@dataclass
class ScalingConfig:
    """Measure how a training scales with its collectors, and how much its coordinator can take.

    No GPU is needed: each collector's generator waits as long as a given GPU would compute, and makes no true image.
    For the coordinator's own limit, collectors answer at once with the same episodes over and over.

    Args:
        counts: numbers of collectors.
        episodes_per_second: of the GPU that each stands for.
        batches: timed for each number.
        part: episodes that a collector plays at a time.
        limit_part: the same while the coordinator's limit is timed, with the largest number of collectors.
        limit_batches: batches that it is timed on.
        gpus: the cluster that the limit is held against.
    """

    counts: list[int] = field(default_factory=lambda: [1, 2, 4])
    episodes_per_second: float = 2.0
    batches: int = 4
    part: int = 8
    limit_part: int = 32
    limit_batches: int = 400
    gpus: int = 64


@dataclass
class HeadlinesConfig:
    """Steer a language model to headlines (paper, B.2): users tell it how to rewrite an original, and report.

    A user may not use words of the goal headline that the original doesn't have; see docs/headlines.md.

    Args:
        folder: receives config.yaml, traces/, rule/, report.html, report.md and figures/.
        suite: csv:PATH, a file with the column original, and goal_prompt, hidden instructions by which the model writes
            the goal, or goal, a headline; and if you like instructions (the user's first), goal_seed and initial_seed.
            study:FOLDER, originals, goals and people's first instructions of the released study; study-prompts:FOLDER,
            the same with goals that the model writes anew by the study's hidden prompts.
        users: goal, who sees the goal, as people in the study did; feedback, who sees how similar the texts were; and
            blind, who says the first instructions in other words.
        baseline: which of the users the others are compared with.
        attempts: of an episode.
        tries: how often a user who sees the goal is asked again for instructions with forbidden words, before the words
            are left out.
        tasks: how many tasks of the suite, from its first; 0 for all.
        tasks_per_batch: how many of them at a time.
        threshold: similarity whose reaching is counted.
        examples: how many episodes of the first user to print.
        study: folder of the released study, to report its real people's attempts under the metric, too; empty for not.
        overwrite, threads: as in training.
    """

    folder: str = MISSING
    suite: str = MISSING
    users: list[str] = field(default_factory=lambda: ["goal", "feedback", "blind"])
    baseline: str = "blind"
    attempts: int = 5
    tries: int = 2
    tasks: int = 0
    tasks_per_batch: int = 16
    threshold: float = 0.8
    examples: int = 4
    study: str = ""
    overwrite: bool = False
    threads: int = 0
    metric: SentenceMetricConfig = field(default_factory=SentenceMetricConfig)
    model: WriterConfig = field(default_factory=WriterConfig)
    writer: WriterConfig = field(default_factory=WriterConfig)


@dataclass
class StudyConfig:
    """Print the paper's tables for the real people of its authors' released study, beside what the paper prints.

    Args:
        path: a checkout of the authors' repository, https://github.com/SarahBentley/Steerability, or a folder with its
            image_generation/data and LLMs/data. Nothing is downloaded.
        folder: receives config.yaml, traces/, report.html, report.md, and tasks.csv, the pairs of goal prompt and a
            real user's first prompt, for env.suite=csv:FOLDER/tasks.csv.
        overwrite, threads: as in training.
    """

    path: str = MISSING
    folder: str = MISSING
    overwrite: bool = False
    threads: int = 0


@dataclass
class FitUsersConfig:
    """Fit simulated users to the people of the released study: to how often they kept the current image.

    One population plays games on the embedded model, and all users' stay rates follow from these games by reweighting.

    Args:
        path: as for experiments.study.
        folder: receives config.yaml, result.json, report.html, report.md and figures/.
        games: played with each policy that people had, a task of env.suite each.
        tasks_per_batch: how many of them at a time.
        overwrite, threads: as in training.
        env: the user is fitted, whoever env.human names.
    """

    path: str = MISSING
    folder: str = MISSING
    games: int = 600
    tasks_per_batch: int = 60
    overwrite: bool = False
    threads: int = 0
    env: EnvConfig = field(default_factory=lambda: EnvConfig(suite="tiles-val-v1"))


@dataclass
class SweepStatusConfig:
    """Show how the training runs below a folder are doing, also while their sweep runs.

    Running means that a process holds the run's lock, on whichever machine of a shared file system with locks; a run
    whose process was killed is unfinished, and goes on with the command that started it.

    Args:
        folder: of a sweep, or any other above training runs.
        window: how many of its last episodes a run's improvement is the mean of.
        lines: of a failed run's error to show.
    """

    folder: str = MISSING
    window: int = 500
    lines: int = 3
