"""The embedded domain: geometric tilings described by eight factors, and the captions people give them.

A tiling is a row of integers, one per factor in the order of :data:`FACTORS`. A caption names a subset of the
factors; whatever it leaves out, the generator's noise decides, which is what gives image steering its room.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from steer_env.limits import Limited, option
from steer_env.registry import Registry

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "white", "black")
RGB = np.array(
    [
        (0.86, 0.15, 0.16),
        (0.98, 0.55, 0.10),
        (0.98, 0.87, 0.20),
        (0.16, 0.62, 0.25),
        (0.25, 0.82, 0.86),
        (0.15, 0.30, 0.82),
        (0.53, 0.20, 0.68),
        (0.98, 0.62, 0.76),
        (0.96, 0.96, 0.95),
        (0.10, 0.10, 0.12),
    ],
    dtype=np.float32,
)
COUNTS = ("one", "four", "nine")
SIZES = ("small", "medium", "large")
ROTATIONS = ("upright", "tilted", "diagonal")
FACTORS = ("count", "size", "colour", "shape", "rotation", "alternate", "background", "border")
CARDINALITIES = (*map(len, (COUNTS, SIZES, COLOURS, SHAPES, ROTATIONS)), *(len(COLOURS) + extra for extra in (1, 0, 1)))
"""Number of values of each factor; the last value of ``alternate`` and of ``border`` means that there is none."""

NONE, UNNAMED = len(COLOURS), -1
COUNT, SIZE, COLOUR, SHAPE, ROTATION, ALTERNATE, BACKGROUND, BORDER = range(len(FACTORS))
_NAMES = {COUNT: COUNTS, SIZE: SIZES, ROTATION: ROTATIONS, COLOUR: COLOURS, SHAPE: SHAPES}
_NAMES |= dict.fromkeys((ALTERNATE, BACKGROUND, BORDER), COLOURS)
"""Factor → names of its values, in the order in which a caption mentions the factors."""
_PHRASES = {
    ALTERNATE: ("alternating with {}", "plain"),
    BACKGROUND: ("on a {} background", ""),
    BORDER: ("with a {} border", "no border"),
}
"""Factor → its phrase after the first comma, and the phrase for none."""
_ROUND_SHAPES = (SHAPES.index("circle"), SHAPES.index("ring"))

_SAME = (
    "circle disc dot, square box, triangle wedge, star asterisk, cross plus, ring hoop, red crimson, orange amber, "
    "yellow golden, green emerald, cyan turquoise, blue navy, purple violet, pink rose, white ivory, black dark, "
    "one single, four some, nine many, small little, medium mid-sized, large big, upright straight, tilted slanted, "
    "diagonal turned"
)
_SYNONYMS = {word: tuple(synonyms) for word, *synonyms in map(str.split, _SAME.split(", "))}
_LOOKALIKES = dict(
    zip(COLOURS, ("orange", "red", "orange", "cyan", "blue", "purple", "blue", "red", "yellow", "blue"), strict=True)
)
_MEANINGS = Registry(
    "word for a tiling",
    {
        word: (factor, value)
        for factor in (COUNT, SIZE, COLOUR, SHAPE, ROTATION)
        for value, name in enumerate(_NAMES[factor])
        for word in (name, *_SYNONYMS[name])
    },
)
"""Word → factor and value; of the factors that have a colour, ``COLOUR``."""
VOCABULARY = tuple(
    sorted(
        {word for words in (SHAPES, COLOURS, COUNTS, SIZES, ROTATIONS) for word in words}
        | {synonym for synonyms in _SYNONYMS.values() for synonym in synonyms}
        | {"tiles", "alternating", "with", "plain", "on", "a", "background", "border", "no"}
    )
)
"""Every word that a caption can hold, for the text encoder's word-level tokenizer."""


def sample_factors(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw n tilings, uniform over the distinguishable ones: int64 (n, 8), values below ``CARDINALITIES``."""
    factors = np.stack([rng.integers(0, k, n) for k in CARDINALITIES], axis=1)
    # Alternation and borders are absent in 2 of 5 tilings, not in 1 of 11.
    for column in (ALTERNATE, BORDER):
        factors[rng.random(n) < 0.34, column] = NONE
    factors[:, BACKGROUND] = _other_than(factors[:, COLOUR], factors[:, BACKGROUND])
    return canonical(factors)


def canonical(factors: np.ndarray) -> np.ndarray:
    """Merge tilings that no picture can tell apart (a turned circle, an alternate equal to what it replaces)."""
    factors = factors.copy()
    factors[np.isin(factors[:, SHAPE], _ROUND_SHAPES), ROTATION] = 0
    invisible = (
        (factors[:, COUNT] == 0)
        | (factors[:, ALTERNATE] == factors[:, COLOUR])
        | (factors[:, ALTERNATE] == factors[:, BACKGROUND])
    )
    factors[invisible, ALTERNATE] = NONE
    factors[factors[:, BORDER] == factors[:, BACKGROUND], BORDER] = NONE
    return factors


def _other_than(excluded: np.ndarray, colours: np.ndarray) -> np.ndarray:
    return np.where(colours == excluded, (colours + 1) % len(COLOURS), colours)


@dataclass(frozen=True)
class Wording(Limited):
    """How a caption writer chooses words.

    Args:
        synonym_rate: probability of replacing a word by another for the same thing, in [0, 1].
        mistake_rate: probability of naming a similar but wrong colour, in [0, 1].

    Raises:
        ValueError: a rate outside [0, 1].
    """

    synonym_rate: float = option(0.0, least=0, most=1)
    mistake_rate: float = option(0.0, least=0, most=1)

    def name(self, factor: int, value: int, rng: np.random.Generator) -> str:
        """A word for one factor's value; empty for no alternate or no border."""
        if _NAMES[factor] is COLOURS:
            return "" if value == NONE else self.colour(value, rng)
        return self.word(_NAMES[factor][value], rng)

    def colour(self, value: int, rng: np.random.Generator) -> str:
        name = COLOURS[value]
        return self.word(_LOOKALIKES[name] if rng.random() < self.mistake_rate else name, rng)

    def word(self, name: str, rng: np.random.Generator) -> str:
        replaced = rng.random() < self.synonym_rate
        choice = int(rng.integers(0, len(_SYNONYMS[name])))
        return _SYNONYMS[name][choice] if replaced else name


EXACT = Wording()
CASUAL = Wording(synonym_rate=0.4, mistake_rate=0.08)


@dataclass
class Nuisance:
    """What varies between two pictures of the same tiling, uniform in ± the given size.

    Args:
        shift: displacement of the pattern, in cells.
        angle: rotation of every shape, in radians.
        radius: relative size of every shape.
        colour: added to each channel of each colour.
    """

    shift: float = 0.12
    angle: float = math.radians(5)
    radius: float = 0.06
    colour: float = 0.04


def caption(factors: np.ndarray, named: Sequence[bool] | np.ndarray, wording: Wording, rng: np.random.Generator) -> str:
    """Describe one canonical tiling, int (8,), by those factors that bool (8,) ``named`` has; empty without any."""
    return arrange({factor: wording.name(factor, factors[factor], rng) for factor in _NAMES if named[factor]})


def arrange(words: Mapping[int, str]) -> str:
    """A caption of the given words, by factor; an empty word says that there is no alternate or no border.

    >>> arrange({SHAPE: "star", BORDER: "", BACKGROUND: "navy"})
    'star, on a navy background, no border'
    """
    if not words:
        return ""
    head = [words[factor] for factor in _NAMES if factor in words and factor not in _PHRASES]
    if SHAPE not in words:
        head.append("tiles")
    phrases = [
        phrase.format(words[factor]) if words[factor] else absent
        for factor, (phrase, absent) in _PHRASES.items()
        if factor in words
    ]
    return ", ".join([" ".join(head), *phrases])


def words_of(caption: str) -> dict[int, str]:
    """The inverse of :func:`arrange`.

    Raises:
        ValueError: words or phrases that no caption of a tiling holds.

    >>> words_of("one box, plain") == {COUNT: "one", SHAPE: "box", ALTERNATE: ""}
    True
    """
    head, *phrases = caption.split(", ")
    words = {_MEANINGS[word][0]: word for word in head.split() if word != "tiles"}
    for phrase in phrases:
        meanings = [
            (factor, match[1] if match.lastindex else "")
            for factor, (pattern, absent) in _PHRASES.items()
            if (match := re.fullmatch(f"{pattern.format('(.+)')}|{absent or pattern}", phrase))
        ]
        if not meanings or (meanings[0][1] and _MEANINGS[meanings[0][1]][0] != COLOUR):
            allowed = ", ".join(pattern.format("COLOUR") for pattern, _ in _PHRASES.values())
            raise ValueError(f"{phrase!r} isn't part of a tiling's caption; there are: {allowed}, plain, no border")
        words.update(meanings)
    return words


def parse(caption: str) -> np.ndarray:
    """What a caption names, in whatever words: int64 (8,), ``UNNAMED`` where it leaves a factor open.

    Raises:
        ValueError: as for :func:`words_of`.

    >>> FACTORS[COLOUR], COLOURS[parse("some crimson star")[COLOUR]]
    ('colour', 'red')
    """
    factors = np.full(len(FACTORS), UNNAMED)
    for factor, word in words_of(caption).items():
        factors[factor] = _MEANINGS[word][1] if word else NONE
    return factors


def full_caption(factors: np.ndarray) -> str:
    """Describe a tiling completely, in the standard words."""
    return caption(factors, np.ones(len(FACTORS), dtype=bool), EXACT, np.random.default_rng(0))
