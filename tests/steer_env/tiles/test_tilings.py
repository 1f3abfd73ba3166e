import numpy as np
import pytest

from steer_env.tiles import tilings


def drawn(n: int) -> list[tuple[np.ndarray, np.ndarray, np.random.Generator]]:
    """Tilings, which of their factors to name, and a stream each."""
    rng = np.random.default_rng(0)
    rows = tilings.sample_factors(n, rng)
    return [(row, rng.random(len(row)) < rng.random(), np.random.default_rng(i)) for i, row in enumerate(rows)]


def test_a_full_caption_is_read_back_to_the_last_factor() -> None:
    for factors, _, _ in drawn(2000):
        assert tilings.parse(tilings.full_caption(factors)).tolist() == factors.tolist()


def test_a_partial_caption_in_other_words_is_read_back_too() -> None:
    for factors, named, rng in drawn(2000):
        caption = tilings.caption(factors, named, tilings.Wording(synonym_rate=0.5), rng)
        assert tilings.parse(caption).tolist() == np.where(named, factors, tilings.UNNAMED).tolist(), caption
        assert tilings.arrange(tilings.words_of(caption)) == caption


def test_no_two_things_share_a_word() -> None:
    words = [
        word for factor in ("SHAPES", "COLOURS", "COUNTS", "SIZES", "ROTATIONS") for word in getattr(tilings, factor)
    ]
    words += [synonym for word in words for synonym in tilings._SYNONYMS[word]]
    assert len(words) == len(set(words)) == len(tilings._MEANINGS)


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("hexagonal porcelain tiles", "unknown word for a tiling 'hexagonal'; did you mean 'diagonal'"),
        ("red star, on a wooden background", "unknown word for a tiling 'wooden'"),
        ("red star, on a big background", "'on a big background' isn't part of a tiling's caption; there are: altern"),
        ("red star, soft grey", "'soft grey' isn't part of a tiling's caption"),
        ("red star, on a  background", "isn't part of a tiling's caption|unknown word"),
    ],
)
def test_other_captions_are_refused(caption: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tilings.parse(caption)


def test_rates_are_probabilities() -> None:
    with pytest.raises(ValueError, match=r"mistake_rate must be from 0 to 1, got 1.5"):
        tilings.Wording(mistake_rate=1.5)
