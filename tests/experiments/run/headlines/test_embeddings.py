"""Sentence similarity, on a tiny encoder with random weights in its own format."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, T5Config, T5Model

from experiments.run.headlines.embeddings import SentenceMetric
from steer_env.metrics.checkpoints import CheckpointError
from tests.steer_env.humans.models import encoder_folder, save_tokenizer

TEXTS = ["red stars", "dark rain : red stars word1", "word2"]


def test_it_is_the_mean_over_the_attention_mask(metric: SentenceMetric, metric_folder: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(metric_folder), AutoModel.from_pretrained(metric_folder).eval()
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    mask = inputs["attention_mask"]
    assert mask.min() == 0
    with torch.inference_mode():
        hidden = model(input_ids=inputs["input_ids"], attention_mask=mask).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    expected = torch.nn.functional.normalize(mean, dim=1)
    torch.testing.assert_close(metric.embed(TEXTS), expected, atol=1e-5, rtol=0)
    assert (expected[0] @ expected[1]).abs() < 0.95


def test_an_embedding_depends_on_its_text_alone(metric: SentenceMetric) -> None:
    together = metric.embed(TEXTS)
    assert together.shape == (3, metric.dimensions)
    for row, text in enumerate(TEXTS):
        assert torch.equal(metric.embed([text])[0], together[row])
        assert together[row].norm() == pytest.approx(1)


def test_a_text_without_a_word_is_similar_to_none(metric: SentenceMetric) -> None:
    assert not metric.embed(["", " \n"]).any()


def test_long_texts_are_cut_as_the_checkpoint_says(metric: SentenceMetric) -> None:
    eight = " ".join(f"word{i}" for i in range(8))
    a, b, c = metric.embed([eight, f"{eight} rain", eight.replace("word7", "rain")])
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_its_id_is_that_of_its_weights(metric: SentenceMetric, metric_folder: Path, tmp_path: Path) -> None:
    assert SentenceMetric(str(metric_folder)).id == metric.id
    assert SentenceMetric(str(encoder_folder(tmp_path, seed=1))).id != metric.id


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path / "cls", pooling="cls_token")
    with pytest.raises(CheckpointError, match="pools by pooling_mode_cls_token, this metric by the mean"):
        SentenceMetric(str(folder))
    folder = encoder_folder(tmp_path / "dense")
    (folder / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(CheckpointError, match="makes sentences with a module Dense of its own"):
        SentenceMetric(str(folder))


def test_what_isnt_there_is_an_error_that_says_what_to_give(tmp_path: Path, metric_folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing is no folder\. A sentence encoder is a folder with config"):
        SentenceMetric(str(tmp_path / "nothing"))
    with pytest.raises(CheckpointError, match="can't be loaded as an encoder"):
        SentenceMetric(str(tmp_path))
    folder = encoder_folder(tmp_path / "deeper")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(CheckpointError, match=r"lacks encoder\.layer\.2\..* and 15 other weights"):
        SentenceMetric(str(folder))


def test_what_cant_be_run_is_found_out_at_once(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    T5Model(T5Config(vocab_size=60, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"can't be run as an encoder: You (must|have to) specify"):
        SentenceMetric(str(tmp_path))


def test_a_hub_that_cant_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(CheckpointError, match=r"'some/encoder' is no folder here, .* from the hub: offline\."):
        SentenceMetric("some/encoder")
