import json
import sys
from pathlib import Path

import pytest

from experiments.study.__main__ import main
from steer_env.tasks import load_suite
from steer_env.traces import read_traces


def test_the_command_prints_the_tables_and_leaves_report_and_traces(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["study", f"path={release}", f"folder={folder}"])
    main()
    markdown = (folder / "report.md").read_text()
    assert markdown.strip() in capsys.readouterr().out
    assert "Similarity by model (Table 2)" in (folder / "report.html").read_text()
    traces = read_traces(folder / "traces")
    suite = load_suite(f"csv:{folder / 'tasks.csv'}")
    assert {(task.goal_prompt, task.prompt) for task in suite} <= {(t.goal_prompt, t.prompt) for t in traces}
    assert len(suite) > 1
    assert not {task.prompt for task in suite} & {trace.prompt for trace in traces if trace.texts}
    assert len(traces) == json.loads((folder / "result.json").read_text())["sessions"]


def test_a_folder_without_the_release_is_an_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["study", f"path={tmp_path}", f"folder={tmp_path / 'run'}"])
    with pytest.raises(FileNotFoundError, match=r"lacks image_generation/data/steering\.csv"):
        main()
    assert not (tmp_path / "run").exists()
