"""Simulated users who steer a language model to a headline; a language model writes what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

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
        asked: how often the user was asked again for this attempt.
    """

    original: str
    goal: str
    instructions: tuple[str, ...]
    texts: tuple[str, ...]
    similarities: tuple[float, ...]
    seed: int
    refused: str = ""
    forbidden: tuple[str, ...] = ()
    asked: int = 0


class HeadlineUser(Protocol):
    """A simulated user. Only one who sees the goal may be told which of its words are forbidden."""

    name: str
    sees_goal: bool

    def write(self, episodes: Sequence[Episode]) -> list[str]:
        """The next instructions of each episode; empty to play the last ones again."""


class WrittenUser:
    """Asks a language model for each next instructions, with a seed of the episode's own.

    A subclass says what is asked.
    """

    kind: str
    told: str
    sees_goal = False

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.name = f"{self.kind} by {writer.id}"

    def write(self, episodes: Sequence[Episode]) -> list[str]:
        """See :class:`HeadlineUser`.

        Raises:
            WriterError: no answer.
        """
        requests = [
            Request(self.told, self.question(e), attempt_seed(e.seed, _STREAM, len(e.texts), e.asked), _CUE)
            for e in episodes
        ]
        return [prompt_in(answer) for answer in self._writer.write(requests)]

    def question(self, episode: Episode) -> str:
        """What is asked of one episode."""
        raise NotImplementedError


class GoalUser(WrittenUser):
    """Sees the goal headline, the original, and every text so far, as people in the study did."""

    kind, told, sees_goal = "goal", _GOAL, True

    def question(self, episode: Episode) -> str:
        """Both headlines, what was tried, and what was refused."""
        tried = zip(episode.instructions, episode.texts, strict=True)
        lines = [f"Original headline: {episode.original}", f"Goal headline: {episode.goal}"]
        lines += [f"Tried: {instructions}\nHeadline: {text}" for instructions, text in tried]
        if episode.refused:
            words = ", ".join(episode.forbidden)
            lines.append(f"Refused: {episode.refused}\nForbidden words in it: {words}. Say it without them.")
        return "\n".join(lines)


class FeedbackUser(WrittenUser):
    """Sees the original, every text so far and how similar it was to the goal, not the goal."""

    kind, told = "feedback", _FEEDBACK

    def question(self, episode: Episode) -> str:
        """The original, and what was tried with its similarity."""
        tried = zip(episode.instructions, episode.texts, episode.similarities, strict=True)
        lines = [f"Tried: {told}\nHeadline: {text}\nSimilarity: {similarity:.3f}" for told, text, similarity in tried]
        return "\n".join([f"Original headline: {episode.original}", *lines])


class BlindUser(WrittenUser):
    """Sees neither goal nor texts: the first instructions in other words (as in the paper's C.1)."""

    kind, told = "blind", _BLIND

    def question(self, episode: Episode) -> str:
        """The first instructions."""
        return episode.instructions[0]


USERS: Registry[Callable[[Writer], HeadlineUser]] = Registry(
    "user", {"goal": GoalUser, "feedback": FeedbackUser, "blind": BlindUser}
)
