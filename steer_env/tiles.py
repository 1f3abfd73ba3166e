"""The embedded domain: geometric tilings described by eight factors, and the captions people give them.

A tiling is a row of integers, one per factor in the order of :data:`FACTORS`. A caption names a subset of the
factors; whatever it leaves out, the generator's noise decides, which is what gives image steering its room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
CARDINALITIES = (
    len(COUNTS),
    len(SIZES),
    len(COLOURS),
    len(SHAPES),
    len(ROTATIONS),
    len(COLOURS) + 1,
    len(COLOURS),
    len(COLOURS) + 1,
)
"""Number of values of each factor; the last value of ``alternate`` and of ``border`` means that there is none."""

NONE = len(COLOURS)
COUNT, SIZE, COLOUR, SHAPE, ROTATION, ALTERNATE, BACKGROUND, BORDER = range(len(FACTORS))
_ROUND_SHAPES = (SHAPES.index("circle"), SHAPES.index("ring"))

_SYNONYMS = {
    "circle": ("disc", "dot"),
    "square": ("box",),
    "triangle": ("wedge",),
    "star": ("asterisk",),
    "cross": ("plus",),
    "ring": ("hoop",),
    "red": ("crimson",),
    "orange": ("amber",),
    "yellow": ("golden",),
    "green": ("emerald",),
    "cyan": ("turquoise",),
    "blue": ("navy",),
    "purple": ("violet",),
    "pink": ("rose",),
    "white": ("ivory",),
    "black": ("dark",),
    "one": ("single",),
    "four": ("some",),
    "nine": ("many",),
    "small": ("little",),
    "medium": ("mid-sized",),
    "large": ("big",),
    "upright": ("straight",),
    "tilted": ("slanted",),
    "diagonal": ("turned",),
}
_LOOKALIKES = {
    "red": "orange",
    "orange": "red",
    "yellow": "orange",
    "green": "cyan",
    "cyan": "blue",
    "blue": "purple",
    "purple": "blue",
    "pink": "red",
    "white": "yellow",
    "black": "blue",
}
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


def _other_than(taken: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.where(wanted == taken, (wanted + 1) % len(COLOURS), wanted)


@dataclass(frozen=True)
class Wording:
    """How a caption writer chooses words.

    Args:
        synonym_rate: probability of replacing a word by another for the same thing, in [0, 1].
        mistake_rate: probability of naming a similar but wrong colour, in [0, 1].
    """

    synonym_rate: float = 0.0
    mistake_rate: float = 0.0

    def colour(self, value: int, rng: np.random.Generator) -> str:
        name = COLOURS[value]
        return self.word(_LOOKALIKES[name] if rng.random() < self.mistake_rate else name, rng)

    def word(self, name: str, rng: np.random.Generator) -> str:
        replaced = rng.random() < self.synonym_rate
        choice = int(rng.integers(0, len(_SYNONYMS[name])))
        return _SYNONYMS[name][choice] if replaced else name


EXACT = Wording()
CASUAL = Wording(synonym_rate=0.4, mistake_rate=0.08)


def caption(factors: np.ndarray, named: Sequence[bool] | np.ndarray, wording: Wording, rng: np.random.Generator) -> str:
    """Describe one tiling, naming only the chosen factors.

    Args:
        factors: int (8,), a canonical tiling.
        named: bool (8,), which factors the caption names; none gives the empty string.
        wording: the writer's choice of words.
        rng: source of synonyms and mistakes.
    """
    named = np.asarray(named, dtype=bool)
    if not named.any():
        return ""
    head = []
    if named[COUNT]:
        head.append(wording.word(COUNTS[factors[COUNT]], rng))
    if named[SIZE]:
        head.append(wording.word(SIZES[factors[SIZE]], rng))
    if named[ROTATION]:
        head.append(wording.word(ROTATIONS[factors[ROTATION]], rng))
    if named[COLOUR]:
        head.append(wording.colour(factors[COLOUR], rng))
    head.append(wording.word(SHAPES[factors[SHAPE]], rng) if named[SHAPE] else "tiles")
    parts = [" ".join(head)]
    if named[ALTERNATE]:
        alternate = factors[ALTERNATE]
        parts.append("plain" if alternate == NONE else f"alternating with {wording.colour(alternate, rng)}")
    if named[BACKGROUND]:
        parts.append(f"on a {wording.colour(factors[BACKGROUND], rng)} background")
    if named[BORDER]:
        border = factors[BORDER]
        parts.append("no border" if border == NONE else f"with a {wording.colour(border, rng)} border")
    return ", ".join(parts)


def full_caption(factors: np.ndarray) -> str:
    """Describe a tiling completely, in the standard words."""
    return caption(factors, np.ones(len(FACTORS), dtype=bool), EXACT, np.random.default_rng(0))
