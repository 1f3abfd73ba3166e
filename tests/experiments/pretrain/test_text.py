import numpy as np
import pytest
from transformers import AutoTokenizer

from experiments.pretrain.text import MAX_WORDS, CaptionWriter, build_tokenizer, tokenize
from steer_env import assets
from steer_env.tiles import tilings


@pytest.fixture(scope="module")
def captions() -> list[str]:
    rng = np.random.default_rng(0)
    return CaptionWriter(synonym_rate=0.5).write(tilings.sample_factors(500, rng), rng)


def test_captions_fit_and_hold_known_words_alone(captions: list[str]) -> None:
    tokenizer = build_tokenizer()
    assert max(len(tokenizer(caption).input_ids) for caption in captions) <= MAX_WORDS
    assert not (tokenize(tokenizer, captions) == tokenizer.unk_token_id).any()


def test_a_word_from_elsewhere_is_unknown_and_spelling_is_forgiven() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.unk_token_id in tokenizer("a zebra").input_ids
    assert tokenizer("Four RED stars.".replace("stars", "star")).input_ids == tokenizer("four red star").input_ids


def test_the_shipped_tokenizer_reads_captions_alike(captions: list[str]) -> None:
    shipped = AutoTokenizer.from_pretrained(assets.ROOT / "tiles-generator" / "tokenizer")
    assert (tokenize(shipped, captions) == tokenize(build_tokenizer(), captions)).all()


def test_captions_leave_factors_out_at_random() -> None:
    rng = np.random.default_rng(1)
    factors = np.repeat(tilings.sample_factors(1, rng), 2000, axis=0)
    written = CaptionWriter().write(factors, rng)
    shares = {"empty": 0.0, "full": 0.0}
    for caption in written:
        shares["empty"] += (caption == "") / 2000
        shares["full"] += all(word in caption for word in ("background", "border")) / 2000
    assert 0.08 < shares["empty"] < 0.25
    assert 0.3 < shares["full"] < 0.75
    assert len(set(written)) > 100
