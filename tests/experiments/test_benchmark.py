"""The benchmark of several generators, as a user runs it, at the smallest size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments import benchmark, evaluate
from steer_env.traces import read_traces
from tests.markdown import compact
from tests.steer_env.checkpoints import diffusion_folder, tiny_decoder

OPTIONS = ["tasks=4", "tasks_per_batch=2", "policies=[text:attribute,random-bucket]"]
CHOSEN = 'generators=["tiles","tiles:steps=1,solver=euler"]'


def cells(report: str, title: str) -> list[list[str]]:
    """The rows of the table under a heading."""
    lines = compact(report[report.index(f"## {title}") :]).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|:--"))
    rows = [line.strip("| ").split(" | ") for line in lines[start + 1 :]]
    return rows[: next((i for i, row in enumerate(rows) if len(row) < 2), len(rows))]


def test_every_table_comes_from_the_traces(tmp_path: Path, command: Callable[..., None]) -> None:
    options = [f"folder={tmp_path}", *OPTIONS, CHOSEN]
    command(benchmark.main, *options)
    report = (tmp_path / "report.md").read_text()
    played = {
        "tiles": read_traces(tmp_path / "traces" / "tiles"),
        "tiles:steps=1,solver=euler": read_traces(tmp_path / "traces" / "tiles-steps-1-solver-euler"),
    }
    assert len(cells(report, "Prompting and choosing images (Table 1)")) == 4
    for name, *shown in cells(report, "Similarity under several metrics (Table 2)")[:-1]:
        users = [trace for trace in played[name] if trace.policy == "text attribute"]
        judged = np.mean([trace.judged["pixel-correlation"] for trace in users])
        for value, expected in zip(shown, (np.mean([trace.similarities for trace in users]), judged), strict=True):
            assert float(value.split()[0]) == pytest.approx(expected, abs=6e-5)
    chose = read_traces(tmp_path / "traces" / "choosing-seed")
    assert {trace.mechanism for trace in chose} == {"text choosing seed"}
    rows = cells(report, "Choosing the seed (Table 5)")
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "Average"]
    last = np.mean([trace.similarities[-1] for trace in chose])
    assert float(rows[4][1].split()[0]) == pytest.approx(last, abs=6e-5)
    assert rows[0][3:] == ["0.0000 (0.0000)", "1"], "the first image is the same"
    assert "## Choosing the guidance (Table 6)" in report
    assert {path.stem for path in (tmp_path / "figures").iterdir()} >= {"rankings-figure-5"}

    untouched = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "traces" / "tiles").iterdir())}
    for path in (tmp_path / "result.json", tmp_path / "traces" / "choosing-guidance" / "00000002.parquet"):
        path.unlink()
    command(benchmark.main, *options)
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert (tmp_path / "report.md").read_text() == report


def test_one_generator_and_no_alignment(tmp_path: Path, command: Callable[..., None]) -> None:
    only = ["policies=[text:blind]", "generators=[tiles]", "choose=[]", "alignment=", "env.rounds=1", "env.judges=[]"]
    command(benchmark.main, f"folder={tmp_path}", *OPTIONS[:2], *only)
    headings = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("## ")]
    assert headings == ["## Prompting and choosing images (Table 1)", "## Similarity under several metrics (Table 2)"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("policies=[random-bucket]", "first of policies must write prompts, such as text:attribute, not random-bucket"),
        ("generators=[tyles]", "unknown generator 'tyles'; did you mean 'tiles'"),
        ('generators=["tiles:solver=heun"]', "unknown solver 'heun'"),
        ("choose=[sampler]", "unknown setting 'sampler'"),
        ("alignment=clip-alignment", "alignment must be drawn, one of env.judges, or empty, not 'clip-alignment'"),
        ("tasks=2001", "tasks must be 2 to 2000, the size of tiles-test-v1, got 2001"),
    ],
)
def test_bad_options_before_any_work(refuses: Callable[..., None], option: str, message: str) -> None:
    refuses(benchmark.main, message, *OPTIONS, option)


def test_evaluation_refuses_what_can_not_be_chosen(refuses: Callable[..., None]) -> None:
    refuses(evaluate.main, "unknown setting 'sampler'", "tasks=2", "env.choose=[sampler]")


def test_what_a_small_decoder_costs(tmp_path: Path, command: Callable[..., None]) -> None:
    """Its goals are compared with the same ones through the checkpoint's own decoder."""
    model = diffusion_folder(tmp_path / "model")
    decoder = tiny_decoder(tmp_path / "taesd")
    spec = f"stable-diffusion:path={model},steps=1,decoder={decoder}"
    only = ["policies=[text:blind]", "choose=[]", "alignment=", "env.rounds=1", "env.judges=[]"]
    chosen = [f'generators=["{spec}"]', "metric=pixel-correlation"]
    command(benchmark.main, f"folder={tmp_path / 'run'}", *OPTIONS[:2], *only, *chosen)
    ((name, similarity),) = cells((tmp_path / "run" / "report.md").read_text(), "Small decoders")
    assert name == spec
    assert -1 <= float(similarity.split()[0]) < 0.999
