"""Play simulated users on headlines, record what happened with the counts of the rule, and go on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.progress import track

from agents.files import write_json
from experiments.headlines.dynamics import HeadlineDynamics
from experiments.headlines.rule import forbidden_words, without
from experiments.headlines.tasks import HeadlineSuite, HeadlineTask, prompt_for
from experiments.headlines.users import Episode, HeadlineUser
from steer_env.evaluation.suites import evaluation_seed, tasks_done
from steer_env.traces import SteeringTrace, read_traces, write_traces
from steer_env.types import Task
from steer_env.versions import package_versions

FIRST = "first instructions"
"""Who wrote what all users start from, where the rule is counted."""


@dataclass(frozen=True)
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
    asked_again: int
    dropped: list[str]
    repeated: int = 0


VERSIONS = package_versions("torch", "transformers", "numpy")
OVERLAP = "word-overlap"
"""What traces call it."""


class _Umpire:
    """Has instructions written, by the rule; counts what it took."""

    def __init__(self, dynamics: HeadlineDynamics, tries: int) -> None:
        self._dynamics, self._tries = dynamics, tries
        self.asked = [0] * len(dynamics.tasks)
        self.dropped: list[list[str]] = [[] for _ in dynamics.tasks]
        self.repeated = [0] * len(dynamics.tasks)

    def first(self) -> list[str]:
        """The tasks' own instructions, without the words that the rule forbids."""
        return [self._obeying(row, task.instructions) for row, task in enumerate(self._dynamics.tasks)]

    def next(self, user: HeadlineUser, rows: Sequence[int]) -> list[str]:
        """The user's next instructions in those episodes.

        Who sees the goal is asked again where the rule is broken; to another, the words would tell the goal.
        """
        episodes = {row: self._episode(row) for row in rows}
        written = dict(zip(rows, user.write(list(episodes.values())), strict=True))
        for again in range(1, self._tries + 1 if user.sees_goal else 1):
            broken = {row: found for row in rows if (found := self._forbidden(row, written[row]))}
            if not broken:
                break
            asked = [
                replace(episodes[row], refused=written[row], forbidden=tuple(found), asked=again)
                for row, found in broken.items()
            ]
            written.update(zip(broken, user.write(asked), strict=True))
            for row in broken:
                self.asked[row] += 1
        return [self._obeying(row, written[row]) for row in rows]

    def _episode(self, row: int) -> Episode:
        played = self._dynamics
        return Episode(
            original=played.tasks[row].original,
            goal=played.goals[row],
            instructions=tuple(played.instructions[row]),
            texts=tuple(played.texts[row]),
            similarities=tuple(played.similarities[row]),
            seed=played.seeds[row],
        )

    def _forbidden(self, row: int, instructions: str) -> list[str]:
        return forbidden_words(instructions, self._dynamics.tasks[row].original, self._dynamics.goals[row])

    def _obeying(self, row: int, instructions: str) -> str:
        """Without the forbidden words; the last instructions again if nothing else is in them."""
        found = self._forbidden(row, instructions)
        self.dropped[row] += found
        left = without(instructions, found) if found else instructions
        before = self._dynamics.instructions[row]
        if left or not before:
            return left
        self.repeated[row] += 1
        return before[-1]


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
        users: U of them.
        tasks: n.
        episode_seeds: n, of the draws of the model and of the users.
        tries: how often a user who sees the goal is asked again for instructions that break the rule, before the
            words are left out.

    Returns:
        U × n traces, user by user, and the rule's counts, those of the first instructions before them.
    """
    n, places = len(tasks), range(len(tasks) * len(users))
    dynamics.reset(list(tasks) * len(users), list(episode_seeds) * len(users))
    umpire = _Umpire(dynamics, tries)
    dynamics.rewrite(umpire.first())
    counts = [RuleCount(FIRST, task.index, 1, 0, umpire.dropped[row]) for row, task in enumerate(tasks)]
    umpire = _Umpire(dynamics, tries)
    parts = [places[i * n : (i + 1) * n] for i in range(len(users))]
    for _ in range(dynamics.num_attempts - 1):
        dynamics.rewrite([told for user, part in zip(users, parts, strict=True) for told in umpire.next(user, part)])
    traces = []
    for user, part in zip(users, parts, strict=True):
        traces += [_trace(dynamics, row, user.name) for row in part]
        for row in part:
            found = (umpire.asked[row], umpire.dropped[row], umpire.repeated[row])
            counts.append(RuleCount(user.name, dynamics.tasks[row].index, dynamics.num_attempts - 1, *found))
    return traces, counts


def evaluate(
    dynamics: HeadlineDynamics,
    users: Sequence[HeadlineUser],
    suite: HeadlineSuite,
    tasks: int,
    tasks_per_batch: int = 16,
    first_task: int = 0,
    tries: int = 2,
) -> Iterator[tuple[list[SteeringTrace], list[RuleCount]]]:
    """Play users on the first tasks of a suite, behind a progress bar, and yield each batch as :func:`play` does.

    Seeds come from the task alone, so results of different runs are paired.
    """
    starts = range(first_task, tasks, tasks_per_batch)
    for start in track(starts, f"{len(users)} users on {suite.name}", disable=len(starts) < 2):
        part = suite.tasks[start : min(start + tasks_per_batch, tasks)]
        yield play(dynamics, users, part, [evaluation_seed(task.index) for task in part], tries)


def _trace(dynamics: HeadlineDynamics, row: int, user: str) -> SteeringTrace:
    task = dynamics.tasks[row]
    prompts = [prompt_for(task.original, told) for told in dynamics.instructions[row]]
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


def _check_same(trace: SteeringTrace, dynamics: HeadlineDynamics, suite: HeadlineSuite) -> None:
    """Files and weights may have changed under the same names."""
    before = (trace.suite, trace.generator, trace.metric)
    now = (suite.name, dynamics.model.id, dynamics.metric.id)
    if before != now:
        raise ValueError(
            f"what the folder holds was played with {', '.join(before)}, not {', '.join(now)}: give another folder"
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

    Returns:
        The traces and the rule's counts of all the tasks.

    Raises:
        ValueError: what is there already was played with another suite, model or metric.
    """
    done = tasks_done(folder / "traces")
    if done:
        _check_same(read_traces(folder / "traces")[0], dynamics, suite)
    for traces, counts in evaluate(dynamics, users, suite, tasks, tasks_per_batch, done, tries):
        name = f"{traces[0].task_index:08d}"
        # The traces last: they tell that the batch is done.
        (folder / "rule").mkdir(exist_ok=True)
        write_json({"counts": [asdict(count) for count in counts]}, folder / "rule" / f"{name}.json")
        write_traces(traces, folder / "traces" / f"{name}.parquet")
    played = [trace for trace in read_traces(folder / "traces") if trace.task_index < tasks]
    counted = [
        RuleCount(**count)
        for path in sorted((folder / "rule").glob("*.json"))
        for count in json.loads(path.read_text())["counts"]
    ]
    return played, [count for count in counted if count.task_index < tasks]
