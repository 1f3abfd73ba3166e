"""Play simulated users on headlines, record what happened with the counts of the rule, and go on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rich.progress import track

from agents.files import write_json
from experiments.headlines.users import Episode, HeadlineUser
from experiments.run.headlines.dynamics import HeadlineDynamics
from experiments.run.headlines.rule import forbidden_words, without
from experiments.run.headlines.tasks import HeadlineSuite, HeadlineTask, prompt_for
from steer_env.evaluation.suites import evaluation_seed, tasks_done
from steer_env.files import reading
from steer_env.traces import SteeringTrace, read_traces, write_traces
from steer_env.types import Task
from steer_env.versions import package_versions

FIRST = "first instructions"
"""Who wrote what all users start from, where the rule is counted."""
VERSIONS = package_versions("torch", "transformers", "numpy")
OVERLAP = "word-overlap"
"""What traces call it."""


@dataclass
class RuleCount:
    """How often the rule was met in an episode.

    Args:
        user: who wrote; :data:`FIRST` for the task's own first instructions.
        task_index: the episode's task.
        prompts: attempts for which instructions were written.
        asked_again: how often instructions were refused and written anew.
        dropped: words that were left out in the end.
        repeated: attempts in which the last instructions were played again, as no word of new ones was left or written.
    """

    user: str
    task_index: int
    prompts: int
    asked_again: int = 0
    dropped: list[str] = field(default_factory=list)
    repeated: int = 0


def _episode(played: HeadlineDynamics, row: int) -> Episode:
    return Episode(
        original=played.tasks[row].original,
        goal=played.goals[row],
        instructions=tuple(played.instructions[row]),
        texts=tuple(played.texts[row]),
        similarities=tuple(played.similarities[row]),
        seed=played.seeds[row],
    )


def _written(user: HeadlineUser, episodes: Sequence[Episode], counts: Sequence[RuleCount], tries: int) -> list[str]:
    """The user's next instructions in each episode, by the rule.

    A user who sees the goal writes again where the rule is broken; to another, the words would tell the goal.
    """
    written = user.write(episodes)
    for again in range(1, 1 + (tries if user.sees_goal else 0)):
        words = [forbidden_words(text, e.original, e.goal) for text, e in zip(written, episodes, strict=True)]
        broken = [row for row, used in enumerate(words) if used]
        if not broken:
            break
        refused = [
            replace(episodes[row], refused=written[row], forbidden=tuple(words[row]), refusals=again) for row in broken
        ]
        for row, text in zip(broken, user.write(refused), strict=True):
            written[row] = text
            counts[row].asked_again += 1
    return [_obeying(text, e, count) for text, e, count in zip(written, episodes, counts, strict=True)]


def _obeying(instructions: str, episode: Episode, count: RuleCount) -> str:
    """Without the forbidden words; the last instructions again if nothing else is in them."""
    words = forbidden_words(instructions, episode.original, episode.goal)
    count.dropped += words
    left = without(instructions, words) if words else instructions
    if left or not episode.instructions:
        return left
    count.repeated += 1
    return episode.instructions[-1]


def play(
    dynamics: HeadlineDynamics,
    users: Sequence[HeadlineUser],
    tasks: Sequence[HeadlineTask],
    episode_seeds: Sequence[int],
    tries: int = 2,
) -> tuple[list[SteeringTrace], list[RuleCount]]:
    """Play one batch: every user on every task. All start from the same text, and share the seeds of the attempts.

    Args:
        dynamics: of the model that is steered.
        users, tasks: U and n of them.
        episode_seeds: n, of the draws of the model and of the users.
        tries: how often a user who sees the goal writes instructions again that break the rule, before words are left
            out.

    Returns:
        U × n traces, user by user, and the rule's counts, those of the first instructions before them.
    """
    dynamics.reset(list(tasks) * len(users), list(episode_seeds) * len(users))
    firsts = [RuleCount(FIRST, task.index, 1) for task in tasks]
    start = [
        _obeying(task.instructions, _episode(dynamics, row), count)
        for row, (task, count) in enumerate(zip(tasks, firsts, strict=True))
    ]
    dynamics.rewrite(start * len(users))
    counts = [[RuleCount(user.name, task.index, dynamics.num_attempts - 1) for task in tasks] for user in users]
    for _ in range(dynamics.num_attempts - 1):
        instructions = []
        for place, (user, own) in enumerate(zip(users, counts, strict=True)):
            rows = range(place * len(tasks), (place + 1) * len(tasks))
            instructions += _written(user, [_episode(dynamics, row) for row in rows], own, tries)
        dynamics.rewrite(instructions)
    played = [count for own in counts for count in own]
    return [_trace(dynamics, row, count.user) for row, count in enumerate(played)], firsts + played


def _trace(dynamics: HeadlineDynamics, row: int, user: str) -> SteeringTrace:
    task = dynamics.tasks[row]
    prompts = [prompt_for(task.original, words) for words in dynamics.instructions[row]]
    return SteeringTrace.of(
        Task(task.suite, task.index, task.goal_prompt, task.goal_seed, prompts[0], task.initial_seed),
        episode_seed=dynamics.seeds[row],
        mechanism="text",
        policy=user,
        human="writer",
        generator=dynamics.model.id,
        metric=dynamics.metric.id,
        similarities=list(dynamics.similarities[row]),
        judged={OVERLAP: list(dynamics.overlaps[row])},
        prompts=prompts,
        texts=list(dynamics.texts[row]),
        goal_text=dynamics.goals[row],
        versions=VERSIONS,
    )


def play_suite(
    dynamics: HeadlineDynamics,
    users: Sequence[HeadlineUser],
    suite: HeadlineSuite,
    tasks: int,
    tasks_per_batch: int,
    tries: int,
    folder: Path,
) -> tuple[list[SteeringTrace], list[RuleCount]]:
    """Play every user on the first tasks of a suite, or go on where an earlier call in this folder was stopped.

    Seeds come from the task alone, so results of different runs are paired.

    Returns:
        The traces and the rule's counts of all the tasks.

    Raises:
        ValueError: the folder has episodes of another suite, model or metric.
    """
    done = tasks_done(folder / "traces")
    if done:
        # Files and weights may have changed under the same names.
        first = read_traces(folder / "traces")[0]
        before, now = (first.suite, first.generator, first.metric), (suite.name, dynamics.model.id, dynamics.metric.id)
        if before != now:
            raise ValueError(
                f"what the folder holds was played with {', '.join(before)}, not {', '.join(now)}: give another folder"
            )
    starts = range(done, tasks, tasks_per_batch)
    for start in track(starts, f"{len(users)} users on {suite.name}", disable=len(starts) < 2):
        part = suite.tasks[start : min(start + tasks_per_batch, tasks)]
        traces, counted = play(dynamics, users, part, [evaluation_seed(task.index) for task in part], tries)
        name = f"{part[0].index:08d}"
        # The traces last: they tell that the batch is done.
        (folder / "rule").mkdir(exist_ok=True)
        write_json({"counts": [asdict(count) for count in counted]}, folder / "rule" / f"{name}.json")
        write_traces(traces, folder / "traces" / f"{name}.parquet")
    kept: list[RuleCount] = []
    for path in sorted((folder / "rule").glob("*.json")):
        with reading(path):
            kept += [RuleCount(**count) for count in json.loads(path.read_text())["counts"]]
    traces = read_traces(folder / "traces")
    return [trace for trace in traces if trace.task_index < tasks], [c for c in kept if c.task_index < tasks]
