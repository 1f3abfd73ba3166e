"""What is printed never decides how a run ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import evaluate
from experiments.run.console import patient, say
from steer_env.redaction import redacted, without_secrets
from tests.steer_env.humans.server import server
from tests.test_imports import ROOT

STUDY = [sys.executable, "-m", "experiments.lottery", "--help"]


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_help_is_printed_in_any_encoding(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    ran = subprocess.run(STUDY, capture_output=True, cwd=ROOT, env=environment)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"OPTION=VALUE" in ran.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_stdout_is_no_failure() -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(STUDY, stdout=full, stderr=subprocess.PIPE, cwd=ROOT)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_process_without_streams_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with patient():
        print("anything")
        say("anything")
    assert sys.stdout is None


class Full:
    """A stream of a disk without space."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_what_a_full_stream_cannot_take_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    with patient():
        print("a")
        sys.stdout.flush()
    say("b")
    assert isinstance(sys.stdout, Full)


def test_a_secret_is_not_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "topsecret1")
    say("the server said: bad key topsecret1 at http://me:pass@host")
    assert capsys.readouterr().out == "the server said: bad key [secret] at http://[secret]@host\n"


def test_a_secret_in_json_or_under_its_name_is_struck_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", 'quo"ted\n1')
    assert redacted(json.dumps({"said": 'quo"ted\n1'})) == '{"said": "[secret]"}'
    assert redacted(repr('quo"ted\n1')) == "'[secret]'"
    settings = {"api_key": "abc", "key_variable": "MINE", "max_tokens": 9, "deep": [{"password": "x"}]}
    struck = {"api_key": "[secret]", "key_variable": "MINE", "max_tokens": 9, "deep": [{"password": "[secret]"}]}
    assert without_secrets(settings) == struck


@pytest.mark.usefixtures("blots")
def test_secrets_reach_neither_configuration_nor_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that repeats the key of the process, and options with a password."""
    folder = tmp_path / "run"
    options = [f"folder={folder}", "policies=[random-bucket,written:blind]", "writer=endpoint", "writer.retries=0"]
    options += ["writer.model='http://me:pass12345@host'", "writer.cache=", "tasks=2", "env.rounds=1", "strips=0"]
    monkeypatch.setenv("OPENAI_API_KEY", "topsecret1")
    with server(lambda body: (401, json.dumps({"error": {"message": f"{body['model']} topsecret1"}}))) as (url, _):
        monkeypatch.setattr(sys, "argv", ["evaluate", *options, f"writer.base_url={url}"])
        with pytest.raises(SystemExit, match="2"):
            evaluate.main()
    out, err = capsys.readouterr()
    assert "refused, with status 401: http://[secret]@host" in err
    texts = [out, err, *(path.read_text() for path in folder.rglob("*.*") if path.suffix in (".yaml", ".txt"))]
    assert len(texts) == 4, err
    assert not any("topsecret1" in text or "pass12345" in text for text in texts)
    assert json.dumps(texts).count("[secret]") >= 2
