"""The paper's own protocol, on small checkpoints in the formats of the real ones."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from experiments import evaluate, train
from steer_env import assets
from steer_env.policies import read_policy
from steer_env.traces import read_traces
from tests.steer_env.checkpoints import dreamsim_folder

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not find_spec("dreamsim"), reason="needs steer-env[dreamsim]")]
TYPE = "clip_vitb32"
PAIRS = 'goal_prompt,prompt\n"two red rings, no border",a ring\nnine blue stars,some stars\none cross,a white cross\n'


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dreamsim_folder(tmp_path_factory.mktemp("dreamsim"), TYPE)


@pytest.fixture
def small(tmp_path: Path, weights: Path) -> list[str]:
    """Overrides that put small checkpoints in the places of Stable Diffusion 1.4 and DreamSim."""
    (tmp_path / "tasks.csv").write_text(PAIRS)
    model = shutil.copytree(assets.ROOT / "tiles-generator", tmp_path / "model")
    return [
        f"env.suite=csv:{tmp_path / 'tasks.csv'}",
        f"generator.path={model}",
        "generator.steps=2",
        f"metric.type={TYPE}",
        f"metric.cache_dir={weights}",
    ]


def test_it_is_trained_and_evaluated_as_table_1(
    small: list[str], tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    run, table = tmp_path / "run", tmp_path / "table"
    command(train.main, "experiment=paper", f"folder={run}", *small, "episodes=2", "batch=2")
    assert read_policy(run / "policy").scales.shape == (4, 2)
    policies = f"policies=[random-session,published,{run}]"
    options = ("tasks=2", "tasks_per_batch=1", "strips=0")
    command(evaluate.main, "experiment=paper_table", f"folder={table}", *small, policies, *options)
    traces = read_traces(table / "traces")
    assert {trace.policy for trace in traces} == {"random scale per session", "published", "learned"}
    (generator,), (metric,) = ({getattr(trace, part) for trace in traces} for part in ("generator", "metric"))
    assert generator.endswith("model@2x7.5")
    assert metric.startswith(f"dreamsim-{TYPE}-")
    assert json.loads((run / "checkpoint.json").read_text())["identity"]["suite"].startswith("csv:")
    assert "learned" in capsys.readouterr().out


def test_the_short_line_of_the_page(
    small: list[str], weights: Path, tmp_path: Path, command: Callable[..., None]
) -> None:
    """With the paths of small checkpoints in the place of the real ones."""
    page = (Path(__file__).parents[2] / "docs" / "paper.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("python -m experiments.evaluate experiment=")]
    places = {"/path/to/sd-v1-4": tmp_path / "model", "/path/to/dreamsim": weights}
    for real, own in {**places, "outputs/study/tasks.csv": tmp_path / "tasks.csv"}.items():
        assert real in line
        line = line.replace(real, str(own))
    sizes = ["generator.steps=2", f"metric.type={TYPE}", "tasks=2", "tasks_per_batch=1", "strips=0"]
    command(evaluate.main, *line.split()[3:], *sizes, f"folder={tmp_path / 'table'}")
    traces = read_traces(tmp_path / "table" / "traces")
    assert {trace.policy for trace in traces} == {"random scale per session", "published"}
    assert {trace.suite.partition("@")[0] for trace in traces} == {f"csv:{tmp_path / 'tasks.csv'}"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda model: (model / "unet" / "config.json").unlink(), "a part of the checkpoint is missing"),
        (lambda model: (model / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 99), "damaged"),
        (lambda model: shutil.rmtree(model), "the hub doesn't have it or can't be reached"),
    ],
)
def test_a_checkpoint_that_cant_be_read_is_found_before_the_first_episode(
    spoil: Callable[[Path], None],
    message: str,
    small: list[str],
    tmp_path: Path,
    command: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    spoil(tmp_path / "model")
    if not (tmp_path / "model").exists():
        small[1] = "generator.path=somebody/model"
    with pytest.raises(OSError, match=message):
        command(train.main, "experiment=paper", f"folder={tmp_path / 'run'}", *small)
    assert not (tmp_path / "run").exists()
