"""What each experiment can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from conf.parts import (
    EnvConfig,
    SentenceMetricConfig,
    WriterConfig,
)


def _test_suite() -> EnvConfig:
    return EnvConfig(suite="tiles-test-v1", judges=["pixel-correlation"])


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
