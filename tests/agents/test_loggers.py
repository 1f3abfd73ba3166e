"""What each logger leaves, as its own tools read it."""

import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

from agents import training
from agents.episodes import Training
from agents.loggers import load_logger, pixels, training_metrics
from agents.loggers.jsonl import LOG, read_log
from agents.thompson import ThompsonSampling
from agents.training import train
from steer_env.evaluation.rollout import make_env
from steer_env.traces import read_traces
from tests.conftest import BLOTS

CONFIG = {"seed": 3, "agent": {"name": "learned"}}
SCALES = np.array([0.1, 0.1, 1.0])
WANDB = {"project": "p", "entity": "", "group": "", "mode": "offline", "timeout": 1.0}


def plot() -> Figure:
    figure = Figure(figsize=(1, 1), facecolor="red")
    figure.subplots().plot([0, 1])
    return figure


def test_metrics_are_those_of_the_traces(tmp_path: Path) -> None:
    train(ThompsonSampling(), make_env(4, **BLOTS), Training(8, 0), tmp_path)
    traces = read_traces(tmp_path / "traces")
    values = training_metrics(traces)
    gained = [trace.similarities[-1] - trace.similarities[0] for trace in traces]
    assert values["improvement/mean"] == pytest.approx(np.mean(gained))
    assert values["improvement/error"] == pytest.approx(stats.sem(gained))
    for place in range(4):
        assert np.array_equal(values[f"scales/round {place + 1}"], [trace.scales[place] for trace in traces])
    assert "improvement/error" not in training_metrics(traces[:1])


def test_pixels_are_those_of_the_saved_plot() -> None:
    file = io.BytesIO()
    plot().savefig(file)
    assert np.array_equal(pixels(plot()), np.array(Image.open(file))[..., :3])


def test_a_typo_is_an_error_that_lists_what_exists() -> None:
    with pytest.raises(ValueError, match="unknown logger 'jsnl'; did you mean 'jsonl'"):
        load_logger("jsnl")


@pytest.mark.parametrize(
    ("kind", "package", "options"), [("tensorboard", "torch.utils.tensorboard", {}), ("wandb", "wandb", WANDB)]
)
def test_a_missing_package_is_an_error_that_says_what_to_install(
    kind: str, package: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"agents.loggers.{kind}", raising=False)
    with pytest.raises(ImportError, match=rf"logger={kind} needs .*: make setup"):
        load_logger(kind, **options)


def test_no_logger_leaves_nothing(tmp_path: Path) -> None:
    logger = load_logger("none")(tmp_path, 0, CONFIG)
    logger.metrics(8, {"a": 1.0})
    logger.image(8, "plot", plot())
    logger.close()
    assert not list(tmp_path.iterdir())


def records(folder: Path) -> list[dict[str, Any]]:
    return [record for record in read_log(folder / LOG) if "config" not in record]


def test_jsonl_holds_the_configuration_and_what_was_logged(tmp_path: Path) -> None:
    logger = load_logger("jsonl")(tmp_path, 0, CONFIG)
    logger.metrics(8, {"a": 1.5, "scales": SCALES})
    logger.image(8, "plot", plot())
    logger.close()
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert lines == [
        {"episodes": 0, "config": CONFIG},
        {"episodes": 8, "a": 1.5, "scales": {"0.1": 2, "1": 1}},
    ]


def test_jsonl_forgets_what_lies_past_the_checkpoint(tmp_path: Path) -> None:
    logger = load_logger("jsonl")(tmp_path, 0, CONFIG)
    for step in (8, 16, 24):
        logger.metrics(step, {"a": float(step)})
    logger.close()
    with (tmp_path / LOG).open("a") as file:
        file.write('{"episodes": 16, "half')
    load_logger("jsonl")(tmp_path, 16, {"seed": 4}).close()
    assert [(r["episodes"], r.get("config")) for r in read_log(tmp_path / LOG)] == [
        (0, CONFIG),
        (8, None),
        (16, None),
        (16, {"seed": 4}),
    ]


def test_the_log_of_a_crashed_and_resumed_training_is_that_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        checkpoint = folder / "checkpoint.json"
        done = json.loads(checkpoint.read_text())["episodes"] if checkpoint.exists() else 0
        logger = load_logger("jsonl")(folder, done, CONFIG)
        with closing(logger):
            train(ThompsonSampling(), make_env(4, **BLOTS), Training(22, 3, batches_per_checkpoint=2), folder, logger)

    def crashing(*args: Any) -> None:
        raise OSError("disk full")

    run(tmp_path / "whole")
    assert [record["episodes"] for record in records(tmp_path / "whole")] == [8, 16, 22]
    with monkeypatch.context() as patch:
        patch.setattr("agents.checkpoints.write_json", crashing)
        with pytest.raises(OSError, match="disk full"):
            run(tmp_path / "crashed")
    assert [record["episodes"] for record in records(tmp_path / "crashed")] == [8]
    calls = iter(range(100))
    play = training.play
    with monkeypatch.context() as patch:
        patch.setattr(training, "play", lambda *a: play(*a) if next(calls) < 3 else crashing())
        with pytest.raises(OSError, match="disk full"):
            run(tmp_path / "crashed")
    run(tmp_path / "crashed")
    assert records(tmp_path / "crashed") == records(tmp_path / "whole")


def test_tensorboard_reads_what_was_logged_and_forgets_what_lies_past_the_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = load_logger("tensorboard")(tmp_path, 0, CONFIG)
    for step in (8, 16, 24):
        logger.metrics(step, {"a": float(step), "scales": SCALES})
    logger.close()
    logger = load_logger("tensorboard")(tmp_path, 16, CONFIG)
    logger.metrics(24, {"a": -24.0})
    logger.image(24, "plot", plot())
    logger.close()
    found = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"histograms": 0})
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("a")] == [(8, 8.0), (16, 16.0), (24, -24.0)]
    assert [event.histogram_value.num for event in found.Histograms("scales")] == [3, 3]
    (picture,) = found.Images("plot")
    assert np.array_equal(np.array(Image.open(io.BytesIO(picture.encoded_image_string))), pixels(plot()))
    text = found.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert json.loads(text) == CONFIG


@pytest.fixture
def wandb_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Points wandb, which remembers its settings for the process, at a server."""
    wandb = pytest.importorskip("wandb", reason="needs the extra wandb")

    def point(url: str) -> None:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        wandb.teardown()

    yield point
    wandb.teardown()


def wandb_records(folder: Path) -> list[Any]:
    """The records of the runs in a folder, in wandb's own protocol: its log is LevelDB's, of blocks of 32 KiB."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # It writes in another process, which this waits for.
    found = []
    for path in sorted(folder.glob("wandb/*run-*/run-*.wandb")):
        data, place, parts = path.read_bytes(), 7, b""
        while place + 7 <= len(data):
            if 32768 - place % 32768 < 7:
                place += 32768 - place % 32768
            length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
            parts += data[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):
                found.append(Record.FromString(parts))
                parts = b""
    return found


def history(folder: Path) -> list[dict[str, Any]]:
    rows = [record.history for record in wandb_records(folder) if record.WhichOneof("record_type") == "history"]
    return [{i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in row.item} for row in rows]


def test_wandb_offline_leaves_a_run_in_its_own_format(tmp_path: Path, wandb_at: Callable[[str], None]) -> None:
    wandb_at("http://127.0.0.1:9")
    logger = load_logger("wandb", **WANDB)(tmp_path, 0, CONFIG)
    for step in (8, 16):
        logger.metrics(step, {"a": step / 10, "scales": SCALES})
    logger.image(16, "plot", plot())
    logger.close()
    logger = load_logger("wandb", **WANDB)(tmp_path, 16, CONFIG)
    logger.metrics(24, {"a": 2.4})
    logger.close()
    runs = [record.run for record in wandb_records(tmp_path) if record.WhichOneof("record_type") == "run"]
    assert len(runs) == 2
    assert len({run.run_id for run in runs}) == 1
    assert (runs[0].project, runs[0].display_name) == ("p", tmp_path.name)
    config = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    assert config.items() >= CONFIG.items()
    rows = history(tmp_path)
    assert [(row["episodes"], row.get("a")) for row in rows] == [(8, 0.8), (16, 1.6), (16, None), (24, 2.4)]
    assert sum(rows[0]["scales/values"]) == 3
    (file,) = tmp_path.glob(f"wandb/offline-run-*/files/{rows[2]['plot/path']}")
    assert np.array_equal(np.array(Image.open(file)), pixels(plot()))


def test_what_the_environment_says_of_wandb_is_heeded(
    tmp_path: Path, wandb_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    wandb_at("http://127.0.0.1:9")
    load_logger("wandb", **{**WANDB, "project": "", "mode": ""})(tmp_path, 0, CONFIG).close()
    (run,) = [record.run for record in wandb_records(tmp_path) if record.WhichOneof("record_type") == "run"]
    assert run.project == "theirs"


def test_a_trial_of_a_wandb_sweep_has_the_agents_id(
    tmp_path: Path, wandb_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "trial7")
    wandb_at("http://127.0.0.1:9")
    for _ in range(2):
        load_logger("wandb", **WANDB)(tmp_path, 0, CONFIG).close()
        monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    assert (tmp_path / "wandb" / "run-id").read_text() == "trial7"


def test_wandb_disabled_leaves_no_run(tmp_path: Path, wandb_at: Callable[[str], None]) -> None:
    wandb_at("http://127.0.0.1:9")
    logger = load_logger("wandb", **{**WANDB, "mode": "disabled"})(tmp_path, 0, CONFIG)
    logger.metrics(8, {"a": 1.0})
    logger.image(8, "plot", plot())
    logger.close()
    assert not list(tmp_path.glob("wandb/*run-*/*.wandb"))


class _Refusing(BaseHTTPRequestHandler):
    """A server that is there, and knows no API key."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts and never answers, as a network that drops everything looks."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("server", "reason"), [("closed", "doesn't answer"), ("silent", "doesn't answer"), ("refusing", "")]
)
def test_wandb_without_its_server_logs_offline_and_stalls_no_run(
    server: str, reason: str, tmp_path: Path, wandb_at: Callable[[str], None], request: pytest.FixtureRequest
) -> None:
    wandb_at("http://127.0.0.1:9" if server == "closed" else request.getfixturevalue(server))
    began = time.monotonic()
    with pytest.warns(UserWarning, match=f"logging offline, for `wandb sync` later: .*{reason}"):
        logger = load_logger("wandb", **{**WANDB, "mode": "online"})(tmp_path, 0, CONFIG)
    logger.metrics(8, {"a": 0.8})
    logger.close()
    assert time.monotonic() - began < 10
    assert [row["a"] for row in history(tmp_path)] == [0.8]


def test_wandb_without_an_api_key_asks_nobody_for_one(
    tmp_path: Path, wandb_at: Callable[[str], None], refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb_at(refusing)
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.warns(UserWarning, match="no API key: run `wandb login`"):
        load_logger("wandb", **{**WANDB, "mode": "online"})(tmp_path, 0, CONFIG).close()
