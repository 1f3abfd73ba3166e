"""The command for a GPU, rehearsed on a CPU at a reduced size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.speed import __main__ as speed
from experiments.speed.findings import Findings
from experiments.speed.measures import Measures, Plan
from experiments.speed.models import SIZES, operations


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Page and JSON of a rehearsal."""
    page = tmp_path_factory.mktemp("speed") / "gpu.md"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["speed", f"page={page}", "rehearsal=true", "minutes=60"])
        patch.setenv("HYDRA_FULL_ERROR", "1")
        speed.main()
    return page.read_text(), json.loads(page.with_suffix(".json").read_text())


@pytest.mark.slow
def test_everything_is_measured(rehearsed: tuple[str, dict[str, Any]]) -> None:
    page, found = rehearsed
    assert found.get("skipped") is None
    assert found["rehearsal"] is True
    assert "**This is a rehearsal on a CPU" in page
    settings = [row["settings"] for row in found["images"]]
    assert settings[0] == "plain pipeline"
    assert set(settings[1:]) == {"eager", "channels-last", "channels-last, compiled (eager)"}
    assert all(row["images/s"] > 0 for row in found["images"] + found["xl"] + found["parts"])
    assert all("of the matrix rate" in row for row in found["images"][1:])
    assert [row["model"] for row in found["episodes"]] == ["small", "embedded model"]
    assert [row["cards"] for row in found["hours"]] == [1, 8, 64]
    assert {row["model"] for row in found["choices"]} == {"embedded model, float32", "small, float32"}
    assert all(0 <= float(row["choices that differ"].rstrip("%")) <= 100 for row in found["choices"])
    for title in ("Machine", "What the card can do", "Stable Diffusion XL's size", "60,000 episodes of 10 images"):
        assert f"## {title}" in page


def test_what_fails_or_has_no_time_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = Findings(tmp_path / "gpu.md", True, 1)
    measures = Measures(findings, Plan(), "cpu", "float32", end=float("inf"), folder=tmp_path)

    def broken(self: Measures) -> None:
        raise RuntimeError("out of | memory\nand more")

    def last(self: Measures) -> None:
        self.findings.add("rates", x=1.0)
        self.end = 0.0

    for name in ("plain", "eager", "channels_last", "compiled"):
        monkeypatch.setattr(Measures, name, broken)
    monkeypatch.setattr(Measures, "rates", lambda self: self.findings.add("machine", card="none"))
    monkeypatch.setattr(Measures, "steps", last)
    for each in (broken, last):
        each.__name__ = each.__qualname__ = each.__name__
    measures.run()
    assert findings.tables["machine"] == [{"card": "none"}]
    why = [row["why"] for row in findings.tables["skipped"]]
    assert why[:4] == ["RuntimeError: out of / memory and more"] * 4
    assert why[4:] == ["the time was up"] * 6
    assert "| out of" not in (tmp_path / "gpu.md").read_text()


def test_what_an_image_of_stable_diffusion_costs() -> None:
    """Counted elsewhere at 512 × 512: 0.803 TFLOP a pass of the UNet, 2.51 to decode."""
    denoiser, decoder = operations(SIZES["sd14"])
    assert denoiser == pytest.approx(0.803e12, rel=0.01)
    assert decoder == pytest.approx(2.51e12, rel=0.01)


def test_the_size_of_xl_is_its_base_models() -> None:
    """2.57 billion parameters of the denoiser."""
    from experiments.speed.models import networks

    with torch.device("meta"):
        _, unet = networks(SIZES["sdxl"])
    assert sum(value.numel() for value in unet.parameters()) == pytest.approx(2.567e9, rel=0.001)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_isnt_there_is_said_before_any_work(command: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no GPU that torch can use here: rehearsal=true"):
        command(speed.main, f"page={tmp_path / 'gpu.md'}")
    with pytest.raises(ValueError, match=r"page must be a Markdown file, such as outputs/gpu\.md, got .*gpu$"):
        command(speed.main, f"page={tmp_path / 'gpu'}", "rehearsal=true")
    assert not list(tmp_path.iterdir())
