"""The rule of the game: words of the goal that aren't in the original are forbidden in the prompt (paper, B.2).

The paper states no more than that. The released prompts show how it was meant: 318 of 550 use an article, preposition
or the like that only the goal has, so those are free; 43 break the rule as it stands here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_FUNCTION_WORDS = """
a an the this that these those and or but nor so if than then as at by for from in into of off on onto out over to
under up upon with without after before about between through during i me my we us our you your he him his she her it
its they them their who whom whose which what when where why how be am is are was were been being do does did have has
had will would shall should can could may might must not no all any some each more most other such only own same too
very just there here
"""
_FREE = frozenset(_FUNCTION_WORDS.split())
"""English function words, which all instructions need."""


class ForbiddenWordsError(ValueError):
    """Instructions that use words of the goal headline."""


def forbidden_words(instructions: str, original: str, goal: str) -> list[str]:
    """The words in the instructions that the rule forbids, as they stand there, each once.

    Case, punctuation, possessives and plural endings make no other word of it; function words are free. Hyphens part
    words.

    >>> forbidden_words("Add the Fates and lords", original="Lords' plan", goal="The lord's fate")
    ['Fates']
    """
    forbidden = {_folded(word) for word in _words(goal)} - {_folded(word) for word in _words(original)} - _FREE
    return list(dict.fromkeys(word for word in _words(instructions) if _folded(word) in forbidden))


def check_instructions(instructions: str, original: str, goal: str) -> None:
    """A ForbiddenWordsError names the words that the rule forbids."""
    if forbidden := forbidden_words(instructions, original, goal):
        raise ForbiddenWordsError(
            "instructions may not use words of the goal headline that the original doesn't have: "
            f"{', '.join(forbidden)}; say it in other words"
        )


def without(instructions: str, words: Collection[str]) -> str:
    """The instructions with those words left out; empty if nothing but punctuation is left.

    >>> without("Make it darker, with lords.", ["lords"])
    'Make it darker, with.'
    """
    text = _WORD.sub(lambda match: "" if match[0] in words else match[0], _normal(instructions))
    text = re.sub(r"\s+(?=[.,;:!?])", "", " ".join(text.split()))
    return text if _WORD.search(text) else ""


def word_overlap(text: str, goal: str) -> float:
    """Share of common words among all that the two have, as the rule tells words apart; 0 where neither has any.

    >>> word_overlap("Fate befalls a lord", "The lord's fates")
    0.4
    """
    ours, theirs = ({_folded(word) for word in _words(each)} for each in (text, goal))
    return len(ours & theirs) / len(ours | theirs) if ours | theirs else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(_normal(text))


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _folded(word: str) -> str:
    """Small letters, without possessive and plural ending; function words as they are."""
    small = re.sub(r"'s$", "", word.casefold().replace("’", "'"))
    if small in _FREE or len(small) < 4 or small == "news":
        return small
    small = re.sub(r"ies?$", "y", small)
    small = re.sub(r"(?<=ss|ch|sh|zz)es$|(?<=x)es$", "", small)
    return re.sub(r"(?<![sui])s$", "", small)
