from pathlib import Path

import pytest

from experiments.run.headlines.embeddings import SentenceMetric
from steer_env.humans.writers import Writer, load_writer
from tests.steer_env.humans.models import causal_folder, encoder_folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return causal_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def metric_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_folder(tmp_path_factory.mktemp("metrics") / "encoder")


@pytest.fixture(scope="session")
def model(model_folder: Path) -> Writer:
    return load_writer("local", path=str(model_folder), max_tokens=5)


@pytest.fixture(scope="session")
def metric(metric_folder: Path) -> SentenceMetric:
    return SentenceMetric(str(metric_folder))
