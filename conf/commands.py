"""What each experiment can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from conf.parts import (
    EnvConfig,
    SentenceMetricConfig,
    WriterConfig,
)


def _test_suite() -> EnvConfig:
    return EnvConfig(suite="tiles-test-v1", judges=["pixel-correlation"])


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
