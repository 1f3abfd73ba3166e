"""The golden run: what the commands printed and left before the house was rebuilt, they print and leave still.

Names of options and of modules may change, in ``RUNS`` alone; numbers may not. Where a mended fault changes one,
``python -m tests.golden.record`` (all runs) or ``python -m tests.golden.record evaluate`` (some) writes
``tests/golden/*.json`` anew, and the commit says which fault it was.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from steer_env.policies import read_policy
from steer_env.traces import SteeringTrace, read_traces
from tests.markdown import compact

GOLDEN = Path(__file__).parent / "golden"
STUDY = os.environ.get("STEER_ENV_STUDY", "")

PLAYED = "[random-bucket,published,best-known,text:attribute,text:blind]"
RANKED = "[random-bucket,best-known,text:attribute,FOLDER/thompson]"
RUNS = {
    "thompson": "experiments.train folder=FOLDER/thompson agent=thompson episodes=64 batch=16 seed=0 threads=1",
    "planning": "experiments.train folder=FOLDER/planning agent=planning episodes=64 batch=16 seed=0 threads=1",
    "ppo": "experiments.train folder=FOLDER/ppo agent=ppo episodes=64 batch=16 seed=0 threads=1"
    " agent.settings.n_steps=4 agent.settings.batch_size=16",
    "evaluate": f"experiments.evaluate folder=FOLDER/evaluate policies={PLAYED} tasks=8 tasks_per_batch=8"
    " strips=0 threads=1",
    "leaderboard": f"experiments.leaderboard folder=FOLDER/leaderboard policies={RANKED} tasks=8 tasks_per_batch=8"
    " robust_human='softmax:temperature=0.05' resamples=50 timed_tasks=1 strips=0 threads=1",
    "study": "experiments.study folder=FOLDER/study path=STUDY",
}
"""Run → its command line, where FOLDER holds all runs and STUDY is the released study."""

SIMILARITIES = {"similarities", "judged"}
"""The columns that may differ by ``TOLERANCE``: sums of float32 depend on processor and threads."""
TOLERANCE = 1e-5
COLUMNS = (
    *("suite", "task_index", "goal_prompt", "goal_seed", "prompt", "initial_seed", "episode_seed"),
    *("mechanism", "policy", "training_seed", "human", "generator", "metric", "images", "passes", "goal_text"),
    *("scales", "choices", "prompts", "seeds", "guidance", "texts", *sorted(SIMILARITIES)),
)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")
TIMED = " ms an episode |"


def run(name: str, folder: Path) -> Path:
    """Run the command in this process, as ``python -m`` would; its folder."""
    module, *arguments = RUNS[name].replace("FOLDER", str(folder)).replace("STUDY", STUDY).split()
    command = import_module(module)
    if not hasattr(command, "main"):
        command = import_module(f"{module}.__main__")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *arguments])
        patch.setenv("HYDRA_FULL_ERROR", "1")
        command.main()
    return folder / name


def observe(name: str, folder: Path) -> dict[str, Any]:
    """What is compared of a run, as JSON has it."""
    seen: dict[str, Any] = {
        "traces": columns(read_traces(*sorted({path.parent for path in folder.rglob("*.parquet")})))
    }
    if name == "study":
        # Thousands of sessions, read and not simulated: a digest of each column is enough.
        seen["traces"] = {column: _digest(values) for column, values in seen["traces"].items()}
        seen["tasks.csv"] = _digest((folder / "tasks.csv").read_text(encoding="utf-8"))
    if (folder / "policy").is_dir():
        policy = read_policy(folder / "policy")
        seen["policy"] = {"name": policy.name, "training_seed": policy.training_seed, "scales": policy.rows}
        seen["policy"]["episodes"] = policy.card.training.episodes
    if (folder / "report.md").is_file():
        seen["tables"] = tables((folder / "report.md").read_text(encoding="utf-8"))
    if (folder / "leaderboard.json").is_file():
        rows = json.loads((folder / "leaderboard.json").read_text())["rows"]
        seen["rows"] = [{key: row[key] for key in row if key != "seconds"} for row in rows]
    return seen


def columns(traces: Iterable[SteeringTrace]) -> dict[str, Any]:
    """Column → its values, a single one where all are equal."""
    rows = list(traces)
    table: dict[str, Any] = {}
    for name in COLUMNS:
        values = [_plain(getattr(row, name)) for row in rows]
        table[name] = values if any(value != values[0] for value in values) else values[:1]
    return table


def tables(markdown: str) -> dict[str, list[str]]:
    """Heading → the rows of the table below it, as they read without padding or the time that an episode takes."""
    found: dict[str, list[str]] = {}
    for section in re.split(r"^## ", compact(markdown), flags=re.MULTILINE)[1:]:
        heading, *lines = section.splitlines()
        rows = [line for line in lines if line.startswith("| ")]
        timed = bool(rows) and rows[0].endswith(TIMED)
        found[heading] = [row.rsplit("|", 2)[0] + "|" if timed else row for row in rows]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return round(value, 7)
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _digest(values: Any) -> str:
    return sha256(json.dumps(values).encode()).hexdigest()[:16]


def _recorded(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def _differences(now: Any, then: Any, tolerance: float, place: str = "") -> Iterator[str]:
    """Where two structures differ: numbers by more than the tolerance, everything else at all."""
    if isinstance(then, dict) and isinstance(now, dict) and then.keys() == now.keys():
        for key in then:
            yield from _differences(now[key], then[key], tolerance, f"{place}.{key}")
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, pair in enumerate(zip(now, then, strict=True)):
            yield from _differences(*pair, tolerance, f"{place}[{index}]")
    elif isinstance(then, float) and isinstance(now, float):
        if now != pytest.approx(then, rel=0, abs=tolerance, nan_ok=True):
            yield f"{place}: {now}, not {then}"
    elif now != then:
        yield f"{place}: {now}, not {then}"


def _printed_differences(now: str, then: str) -> bool:
    """Do two lines differ by more than a unit of the last digit of a number that they print?"""
    if NUMBER.sub("#", now) != NUMBER.sub("#", then):
        return True
    return any(
        abs(float(a) - float(b)) > 1.001 * _unit(b) for a, b in zip(*map(NUMBER.findall, (now, then)), strict=True)
    )


def _unit(number: str) -> float:
    digits, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


@pytest.fixture(scope="module", params=RUNS)
def pair(request: pytest.FixtureRequest, runs: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run leaves now, and what it left then."""
    name = request.param
    if name == "study" and not STUDY:
        pytest.skip("STEER_ENV_STUDY doesn't name a folder with the released study")
    if name == "leaderboard" and not (runs / "thompson").is_dir():
        run("thompson", runs)
    folder = runs / name
    return observe(name, folder if folder.is_dir() else run(name, runs)), _recorded(name)


@pytest.mark.slow
class TestGolden:
    def test_episodes(self, pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
        now, then = (side["traces"] for side in pair)
        assert now.keys() == then.keys()
        exact = [name for name in then if name not in SIMILARITIES and now[name] != then[name]]
        assert exact == [], [(name, now[name], then[name]) for name in exact]
        differences = [line for name in SIMILARITIES for line in _differences(now[name], then[name], TOLERANCE, name)]
        assert differences == []

    def test_policies_and_rankings(self, pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
        now, then = ({key: side[key] for key in side if key not in ("traces", "tables")} for side in pair)
        assert list(_differences(now, then, TOLERANCE)) == []

    def test_tables(self, pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
        """To the digit where they come of files; within a unit of the last digit where episodes are simulated."""
        now, then = (side.get("tables", {}) for side in pair)
        if "tasks.csv" in pair[1]:
            assert now == then
        assert {heading: len(rows) for heading, rows in now.items()} == {key: len(rows) for key, rows in then.items()}
        lines = [both for heading in then for both in zip(now[heading], then[heading], strict=True)]
        assert [f"{a}\nnot\n{b}" for a, b in lines if _printed_differences(a, b)] == []


class TestOldFiles:
    def test_traces_of_both_versions_are_read(self) -> None:
        """Written by the code of their time; the first version had no prompts, and neither counted images or passes."""
        for version in (1, 2):
            then = _recorded("old-traces") | {"passes": [None]} | ({"prompts": [[]]} if version == 1 else {})
            assert columns(read_traces(GOLDEN / f"traces-{version}.parquet")) == then

    def test_a_policy_is_read(self) -> None:
        policy = read_policy(GOLDEN / "old-policy")
        assert (policy.name, policy.training_seed) == ("learned", 0)
        assert policy.rows == _recorded("thompson")["policy"]["scales"]
        assert policy.card.training.settings["distribution"] == "mixture"


def test_numbers_on_a_line_may_differ_by_a_unit_and_nothing_else_may() -> None:
    line = "| published | 0.1674 (0.0352) | 87.5% | 2e-16 |"
    assert not _printed_differences("| published | 0.1675 (0.0351) | 87.5% | 2e-16 |", line)
    for other in (line.replace("0.1674", "0.1676"), line.replace("published", "random"), line.replace("16", "15")):
        assert _printed_differences(other, line)
