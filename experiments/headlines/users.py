"""Simulated users who steer a language model to a headline; a language model writes what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from steer_env.humans.prompts import attempt_seed, prompt_in
from steer_env.humans.writers import Request, Writer
from steer_env.registry import Registry

_SITUATION = "Somebody steers a language model that rewrites news headlines, by telling it how. "
_ALONE = "Answer with the new instructions alone."
_GOAL = (
    f"{_SITUATION}You are given the original headline, the goal headline that it should become, and what was tried. "
    "Write instructions that are likely to come closer to the goal. You may use the words of the original headline, "
    f"but no other words of the goal headline. {_ALONE}"
)
_FEEDBACK = (
    f"{_SITUATION}It should come to a certain headline, which you can't see. You are given the original headline, and "
    "the instructions that were tried, each with the headline that came of it and how similar that was to the one "
    f"wanted, where 1 is the same. Write instructions that are likely to come closer. {_ALONE}"
)
_BLIND = (
    "You are given instructions by which a language model rewrites a news headline. Write them again in other words, "
    f"with the same meaning, leaving nothing out and adding nothing. {_ALONE}"
)
_CUE = "New instructions:"
_STREAM = 0x05E5
"""Apart from that of the steered model, which may be the same one."""


@dataclass(frozen=True)
class Episode:
    """An episode as it stands before a user's next attempt; each user looks only at what it may see.

    Args:
        original, goal: headlines.
        instructions, texts, similarities: (t,), of the attempts so far.
        seed: of the user's draws in this episode.
        refused: instructions that the user has just written against the rule; empty if none.
        forbidden: the words in them that the rule forbids.
        refusals: answers that the rule has refused in this attempt.
    """

    original: str
    goal: str
    instructions: tuple[str, ...]
    texts: tuple[str, ...]
    similarities: tuple[float, ...]
    seed: int
    refused: str = ""
    forbidden: tuple[str, ...] = ()
    refusals: int = 0


class HeadlineUser:
    """Asks a language model for the next instructions of each episode, with a seed of the episode's own.

    Args:
        kind: a name of :data:`USERS`.
        task: what the writer is to do.
        question: what it is shown of an episode.
        writer: writes the instructions.

    Attributes:
        sees_goal: only such a user may learn which words of the goal are forbidden.
    """

    def __init__(self, kind: str, task: str, question: Callable[[Episode], str], writer: Writer) -> None:
        self.name, self.sees_goal = f"{kind} by {writer.id}", kind == "goal"
        self._task, self._question, self._writer = task, question, writer

    def write(self, episodes: Sequence[Episode]) -> list[str]:
        """The next instructions of each episode; empty to play the last ones again."""
        requests = [
            Request(self._task, self._question(e), attempt_seed(e.seed, _STREAM, len(e.texts), e.refusals), _CUE)
            for e in episodes
        ]
        return [prompt_in(answer) for answer in self._writer.write(requests)]


def _with_goal(episode: Episode) -> str:
    """Both headlines, every text so far, as people in the study saw them, and what was refused."""
    tried = zip(episode.instructions, episode.texts, strict=True)
    lines = [f"Original headline: {episode.original}", f"Goal headline: {episode.goal}"]
    lines += [f"Tried: {instructions}\nHeadline: {text}" for instructions, text in tried]
    if episode.refused:
        words = ", ".join(episode.forbidden)
        lines.append(f"Refused: {episode.refused}\nForbidden words in it: {words}. Say it without them.")
    return "\n".join(lines)


def _with_similarities(episode: Episode) -> str:
    """The original, and every text so far with its similarity to the goal, not the goal."""
    tried = zip(episode.instructions, episode.texts, episode.similarities, strict=True)
    lines = [f"Tried: {words}\nHeadline: {text}\nSimilarity: {similarity:.3f}" for words, text, similarity in tried]
    return "\n".join([f"Original headline: {episode.original}", *lines])


USERS: Mapping[str, Callable[[Writer], HeadlineUser]] = Registry(
    "user",
    {
        "goal": partial(HeadlineUser, "goal", _GOAL, _with_goal),
        "feedback": partial(HeadlineUser, "feedback", _FEEDBACK, _with_similarities),
        # Neither goal nor texts are seen (as in the paper's C.1).
        "blind": partial(HeadlineUser, "blind", _BLIND, lambda episode: episode.instructions[0]),
    },
)
