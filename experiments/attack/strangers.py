"""Submissions of strangers who mean ill, to verify, evaluate and leaderboard, under an audit of all they touch."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.attack.workers import Outcome, ran
from experiments.run.folder import LEADERBOARD

SMALL = ("tasks=2", "env.rounds=2", "env.proposals=1", "strips=0")
BOARD = (*SMALL, "timed_tasks=1", "resamples=20")
_AT_A_TIME = 30
_RECORD: dict[str, Any] = {"kind": "table", "name": "mine", "training_seed": 3, "scales": [[0.5, 0.5], [0.2, 0.9]]}
_TRAINING: dict[str, Any] = {"suite": "tiles-train-v1", "episodes": 8, "settings": {}, "versions": {}}
_VALUES: tuple[Any, ...] = (
    *(None, True, -5, 2**70, 1.5, -1e300, "", "x", "\x1b[2J", "y" * 10**5, [], {}, [[]], [[0.5] * 3], [["0.5", 0.5]]),
    *({"a": 1}, [{"a": [0] * 5000}]),
)
_NAMES = (
    *("published", "random bucket", "best known", "constant 0.9", "text blind", "Published", "random-bucket"),
    *("pub1ished", "randorn bucket", "published ", " published", "publ\u200bished", "publ\u00adished", "рublished"),
    *("ｐublished", "publıshed", "a\u202eb", "a\nb", "a\tb", "$\\frac{1}{$", "$(touch ran)", "`touch ran`", "a|b"),
    *("<script>a</script>", "![a](b)", "../../../ran", "/etc/passwd", "C:\\ran", "a\x00b", "\ud800", "é", "名"),
    *("a" * 81, "%s%n", "{0}", "${oc.env:HOME}", "[red]a[/]", "=1+1", "-rf", "~", ".", ".."),
)
_TEXTS: tuple[bytes, ...] = (
    *(b"", b"[]", b"null", b'"x"', b"3", b"{", b"[" * 900, b"[" * 10**5, b'{"a":' * 900, b"\x80\x04.", b"PK\x03\x04"),
    *(b'{"kind": "table", "kind": "table"}', b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"{'kind': 'table'}", b"{}\x00"),
    *(b"{} {}", b'{"scales": ' + b"9" * 5000 + b"}", b'{"scales": 1e400}', b'{"scales": NaN}', b'{"a": Infinity}'),
    *(b" " * 2**21 + b"{}", b"// {}", b'{"name": "\\ud800"}', b"---\nkind: table"),
)
_BESIDE = (
    *("policy.pkl", "model.bin", "weights.pt", "run.sh", "setup.py", "sitecustomize.py", "__init__.py", "conftest.py"),
    *("policy.so", "policy.dll", "data.npy", "model.zip", "model.h5", "model.pkl.gz", "a.pth", "config.yaml"),
    "x.ipynb",
)


@dataclass
class Bomb:
    """Unpickling it leaves a file."""

    evidence: Path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.evidence),)


Maker = Callable[[Path], object]


def makers(evidence: Path) -> Iterator[Maker]:
    """Ways to fill a submission's folder; what runs would leave the evidence, and so would a write through a link."""
    for text in _TEXTS:
        yield partial(_bytes, text)
    for field in (*_RECORD, "card", "seal", "more"):
        yield partial(_record, {name: value for name, value in _RECORD.items() if name != field})
        yield from (partial(_record, _RECORD | {field: value}) for value in _VALUES)
    for field in (*_TRAINING, "prize"):
        for value in _VALUES:
            yield partial(_record, _RECORD | {"card": {"training": _TRAINING | {field: value}}})
    yield from (partial(_record, _RECORD | {"name": name}) for name in _NAMES)
    yield from (partial(_bytes, json.dumps(_RECORD).encode()[: 10 * cut]) for cut in range(1, 8))
    yield from (partial(_beside, beside, evidence) for beside in _BESIDE)
    for target in ("/dev/zero", "/etc/passwd", "/proc/self/environ", "policy.json", str(evidence), "/dev/stdin"):
        yield partial(_link, "policy.json", Path(target))
    for name in ("policy.json.partial", "claim.json", "report.md", ".policy.json.swp", "policy.partial"):
        yield partial(_link, name, evidence)
    yield lambda folder: os.mkfifo(folder / "policy.json")
    yield lambda folder: (folder / "policy.json").mkdir()
    yield _damaged_training
    yield partial(_record, _RECORD | {"scales": [[0.5, 0.5]] * 64})
    yield partial(_record, _RECORD | {"kind": "histories", "scales": [[0.5]]})


def _bytes(content: bytes, folder: Path) -> None:
    (folder / "policy.json").write_bytes(content)


def _record(record: Any, folder: Path) -> None:
    _bytes(json.dumps(record).encode(), folder)


def _link(name: str, target: Path, folder: Path) -> None:
    """A link, beside a good policy if it isn't in its place."""
    if name != "policy.json":
        _record(_RECORD, folder)
    (folder / name).symlink_to(target)


def _beside(name: str, evidence: Path, folder: Path) -> None:
    _record(_RECORD | {"name": f"beside {len(name)}"}, folder)
    code = f"import os\nos.mkdir({str(evidence)!r})\n".encode()
    (folder / name).write_bytes(code if name.endswith(("py", "pth", "sh")) else pickle.dumps(Bomb(evidence)))


def _damaged_training(folder: Path) -> None:
    """A training's folder, with files that only a training reads."""
    (folder / "policy").mkdir()
    _record(_RECORD | {"name": "trained"}, folder / "policy")
    (folder / "checkpoint.json").write_text('{"episodes": ')
    (folder / "traces").mkdir()
    (folder / "traces" / "00000000.parquet").write_bytes(b"PAR1" * 100)


def submissions(folder: Path, number: int) -> list[Path]:
    """So many folders, each made in another way, evenly chosen from all ways."""
    every = list(makers(folder / "evidence"))
    made = []
    for place in range(min(number, len(every))):
        submission = folder / "sent" / f"s{place:03d}"
        submission.mkdir(parents=True)
        every[place * len(every) // min(number, len(every))](submission)
        made.append(submission)
    return made


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate")
_RUNNING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class", "socket.connect")
_READ = ("policy.json", "policy.onnx", "checkpoint.json")


def watch(allowed: Sequence[Path], sent: Path, record: int) -> None:
    """Report to an open file what touches files outside the allowed folders, reads more than policies, or runs code."""
    places = tuple(str(place.resolve()) for place in allowed)
    theirs = str(sent.resolve())

    def outside(path: Any) -> bool:
        return isinstance(path, str | bytes) and not os.path.realpath(os.fsdecode(path)).startswith(places)

    def hook(event: str, details: tuple[Any, ...]) -> None:
        deed = ""
        if event == "open":
            path, _, flags = details
            if isinstance(flags, int) and flags & _WRITING and outside(path):
                deed = "touched"
            elif isinstance(path, str) and os.path.abspath(path).startswith(theirs):  # noqa: PTH100
                deed = "" if os.path.basename(path) in _READ or path.endswith(".parquet") else "read"  # noqa: PTH119
        elif event in _CHANGING:
            # Making a folder that is there, as Hydra does with the current one, changes nothing.
            there = event == "os.mkdir" and os.path.isdir(details[0])  # noqa: PTH112
            deed = "changed" if not there and any(outside(path) for path in details[:2]) else ""
        elif event in _RUNNING or (event == "exec" and getattr(details[0], "co_filename", "").startswith(theirs)):
            deed = "ran"
        if deed:
            os.write(record, f"{deed}: {event} {str(details[:2])[:200]}\n".encode())

    sys.addaudithook(hook)


def attack(folder: Path, number: int, seed: int) -> tuple[int, list[str]]:
    """Send so many submissions to verify or evaluate, and all of them to leaderboards; nothing is drawn."""
    sent, failures = submissions(folder, number), list[str]()
    logs = folder / "logs"
    logs.mkdir()
    (folder / "runs").mkdir()
    for place, submission in enumerate(sent):
        log, run = logs / submission.name, folder / "runs" / submission.name
        name = ("verify", "evaluate")[place % 2]
        options = [f"submission={submission}"] if place % 2 == 0 else [f"policies=[random-bucket,{submission}]"]
        small = [option for option in SMALL if place % 2 or not option.startswith("strips")]
        outcome = _watched(name, [f"folder={run}", *options, *small], log, [run, logs], folder)
        if not outcome.refusal and outcome.status:
            failures.append(f"{name} {submission.name}: {outcome}")
        failures += [f"{name} {submission.name}: {line}" for line in _seen(log)]
    alone = _board(folder, "alone", [])
    for start in range(0, len(sent), _AT_A_TIME):
        part = sent[start : start + _AT_A_TIME]
        outcomes = _board(folder, f"board-{start}", part)
        if isinstance(outcomes, str) or isinstance(alone, str) or outcomes != alone:
            failures.append(f"leaderboard of {part[0].name} to {part[-1].name}: {outcomes}, alone {alone}")
        failures += [f"leaderboard of {part[0].name} …: {line}" for line in _seen(logs / f"board-{start}")]
    if (folder / "evidence").exists():
        failures.append("code of a submission was run, or a link of one was followed")
    return len(sent), failures


def _board(folder: Path, name: str, sent: Sequence[Path]) -> str | dict[str, float]:
    """What a board of one built-in policy and these says of the built-in one; or how it ended."""
    run = folder / "runs" / name
    policies = ",".join(["random-bucket", *map(str, sent)])
    options = [f"folder={run}", f"policies=[{policies}]", *BOARD, "claim=true"]
    outcome = _watched("leaderboard", options, folder / "logs" / name, [run, folder / "logs"], folder)
    if outcome.status:
        return str(outcome)
    rows = json.loads((run / LEADERBOARD).read_text())["rows"]
    return {row["policy"]: round(row["improvement"]["value"], 5) for row in rows if row["policy"] == "random bucket"}


def _watched(name: str, options: Sequence[str], log: Path, allowed: Sequence[Path], folder: Path) -> Outcome:
    places = [*allowed, Path(os.devnull), Path("/dev/shm"), Path("/proc/self")]

    def before() -> None:
        record = os.open(log.with_name(f"{log.name}.seen"), os.O_WRONLY | os.O_CREAT)
        watch(places, folder / "sent", record)

    return ran(name, options, log, before)


def _seen(log: Path) -> list[str]:
    return log.with_name(f"{log.name}.seen").read_text().splitlines()[:5]
