"""transformers' causal models, on a tiny one with random weights in their own format."""

from pathlib import Path
from typing import Any

import pytest
import torch

from steer_env.humans.writers import Request, WriterError, load_writer
from tests.steer_env.humans.models import causal_folder

REQUESTS = [Request("Say it again", "red stars", seed) for seed in (1, 2, 1)]
TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}word7"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return causal_folder(tmp_path_factory.mktemp("lm") / "tiny")


def test_an_answer_depends_on_its_own_request_alone(folder: Path) -> None:
    writer = load_writer("local", path=str(folder), max_tokens=6)
    assert writer.id == "tiny"
    state = torch.random.get_rng_state()
    answers = writer.write(REQUESTS)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert answers[0] == answers[2] != answers[1]
    assert writer.write(REQUESTS[1:2]) == answers[1:2]
    for answer in answers:
        assert 0 < len(answer.split()) <= 6
        assert "Say" not in answer


def test_the_likeliest_words_need_no_seed(folder: Path) -> None:
    first, second, _ = load_writer("local", path=str(folder), max_tokens=4, temperature=0).write(REQUESTS)
    assert first == second


def test_a_chat_template_is_used(folder: Path) -> None:
    writer: Any = load_writer("local", path=str(folder), max_tokens=4)
    plain = writer._text(REQUESTS[0])
    assert plain == "Say it again\n\nred stars\n\nNew prompt:"
    assert writer._text(Request("", "red stars", 1, cue="Stars:")) == "red stars\n\nStars:"
    writer._tokenizer.chat_template = TEMPLATE
    assert writer._text(REQUESTS[0]) == "Say it again red stars word7"
    assert writer._text(Request("", "red stars", 1)) == "red stars word7"
    assert writer.write(REQUESTS[:1])[0]


def test_what_cant_be_read_is_an_error_that_says_what_to_give(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WriterError, match="can't be loaded as a causal language model: give a folder with"):
        load_writer("local", path=str(tmp_path))
    with pytest.raises(ValueError, match="max_tokens must be from 1 to 1000000, got 0"):
        load_writer("local", path=str(folder), max_tokens=0)
    with pytest.raises(ValueError, match="unknown writer 'lokal'; did you mean 'local'"):
        load_writer("lokal")
