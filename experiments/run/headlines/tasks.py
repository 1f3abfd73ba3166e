"""Tasks of headline steering, from your file or from the released study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.run.released.headlines import HEADLINE_SUITE, headline_sessions
from steer_env.tasks import given_seeds, read_rows, split_path

_FIRST = "rewrite this headline."
_PREAMBLE = (
    "I will give you instructions to rewrite this news headline: '{original}'. Only return the rewritten headline. "
    "Here are my instructions: {instructions}"
)


@dataclass(frozen=True)
class HeadlineTask:
    """All that defines an episode's problem (paper, B.2).

    Args:
        suite: name of the suite it belongs to.
        index: its place there.
        original: headline that the model rewrites.
        goal_prompt: hidden prompt of the goal headline, as the model gets it; empty if only the goal is known.
        goal: the goal headline; empty if the model is to write it.
        goal_seed: of the model's draws for the goal; −1 for a known goal.
        instructions: the user's first.
        initial_seed: of the model's draws for the first attempt.
    """

    suite: str
    index: int
    original: str
    goal_prompt: str
    goal: str
    goal_seed: int
    instructions: str
    initial_seed: int


@dataclass(frozen=True)
class HeadlineSuite:
    """A named list of tasks."""

    name: str
    tasks: tuple[HeadlineTask, ...]


def prompt_for(original: str, instructions: str) -> str:
    """The model's prompt, in the study's own words (paper, Table 4)."""
    return _PREAMBLE.format(original=original, instructions=instructions)


def load_headlines(name: str) -> HeadlineSuite:
    """The suite of that name.

    ``csv:PATH`` is a file with the column ``original``, and ``goal_prompt``, hidden instructions by which the model
    itself writes the goal, or ``goal``, a headline, or both columns, of which each row fills one; and if you
    like ``instructions``, the user's first, ``goal_seed`` and ``initial_seed``. ``study:FOLDER`` has the originals,
    goals and people's first instructions of the released study; ``study-prompts:FOLDER`` the same with goals that the
    model writes anew by the study's hidden prompts.

    Raises:
        FileNotFoundError: no such file, or the folder lacks the release's.
        ValueError: another kind of name, or a bad row, with its line.
    """
    kind, _, place = name.partition(":")
    if kind == "csv":
        suite, rows = read_rows(*split_path(place), {"original"})
        return HeadlineSuite(suite, tuple(_task(suite, i, row, line) for i, (row, line) in enumerate(rows)))
    if kind in ("study", "study-prompts"):
        return _released(kind.replace("study", HEADLINE_SUITE), Path(place).expanduser())
    raise ValueError(f"suites of headlines are csv:PATH, study:FOLDER and study-prompts:FOLDER, got {name!r}")


def _task(suite: str, index: int, row: Mapping[str, str], place: str) -> HeadlineTask:
    original, hidden, goal, first = (
        " ".join((row.get(column) or "").split()) for column in ("original", "goal_prompt", "goal", "instructions")
    )
    if not original:
        raise ValueError(f"{place}: original is empty")
    if bool(hidden) == bool(goal):
        raise ValueError(
            f"{place}: give goal_prompt, by which the model writes the goal, or goal, a headline; "
            f"{'both are' if hidden else 'neither is'} there"
        )
    goal_seed, initial_seed = given_seeds(row, index, place)
    if hidden:
        hidden = prompt_for(original, hidden)
    seed = goal_seed if hidden else -1
    return HeadlineTask(suite, index, original, hidden, goal, seed, first or _FIRST, initial_seed)


def _released(suite: str, folder: Path) -> HeadlineSuite:
    tasks = []
    for index, session in enumerate(headline_sessions(folder)):
        goal_seed, initial_seed = given_seeds({}, index, suite)
        goal, seed = (session.goal, -1) if suite == HEADLINE_SUITE else ("", goal_seed)
        task = (suite, index, session.original, session.goal_prompt, goal, seed, session.instructions[0], initial_seed)
        tasks.append(HeadlineTask(*task))
    return HeadlineSuite(suite, tuple(tasks))
