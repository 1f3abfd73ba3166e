"""A network from its training to the board and the verifier, and a hostile one beside it: one bad row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason='needs pip install "steer-env[onnx]"')

from experiments import leaderboard, train, verify
from tests.steer_env.policies.test_networks import HOSTILE

pytestmark = pytest.mark.usefixtures("blots")

SMALL = ["env.rounds=2", "tasks=2"]


def test_a_network_is_trained_ranked_and_verified(tmp_path: Path, command: Callable[..., None]) -> None:
    mine, board = tmp_path / "mine", tmp_path / "board"
    settings = "agent.settings={n_steps: 2, batch_size: 4, n_epochs: 1}"
    seeing = ["env.action=directions:dimensions=4", "env.observe=[embedding,history]", "env.rounds=2"]
    command(train.main, f"folder={mine}", "agent=ppo", settings, *seeing, "episodes=4", "batch=2")
    assert json.loads((mine / "policy" / "policy.json").read_text())["kind"] == "network"
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    record = json.loads((mine / "policy" / "policy.json").read_text())
    del record["seal"]
    graph = HOSTILE["endless loop"][0]()
    record |= {"name": "hostile", "graph": hashlib.sha256(graph).hexdigest()}
    (hostile / "policy.json").write_text(json.dumps(record))
    (hostile / "policy.onnx").write_bytes(graph)
    policies = f"policies=[published,{mine},{hostile}]"
    command(
        leaderboard.main, f"folder={board}", policies, *SMALL, "timed_tasks=1", "resamples=20", "strips=1", "claim=true"
    )
    found = json.loads((board / "leaderboard.json").read_text())
    assert {(row["policy"], row["track"]) for row in found["rows"]} == {
        ("published", "mixture"),
        ("PPO", "directions:dimensions=4,leash=0.9"),
    }
    assert "the operator 'Loop' isn't allowed" in found["refused"][str(hostile)]
    claims = {json.loads(path.read_text())["policy"]: path for path in (board / "claims").glob("*.json")}
    claim = claims["PPO"]
    assert json.loads(claim.read_text())["mechanism"] == "directions:dimensions=4,leash=0.9"
    command(verify.main, f"folder={tmp_path / 'v'}", f"submission={mine}", f"claim={claim}", *SMALL, "noise=0")
    result = json.loads((tmp_path / "v" / "result.json").read_text())
    assert result["verdict"]["equal"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["env.observe=[history]"], "agent learned learns buckets from .* alone"),
        (["agent=sac"], "agent sac needs env.action=scale, directions or proposals, got bucket"),
        (["agent=ppo", "env.observe=[image]"], "agents see vectors"),
        (["agent=ppo", "env.action=direction"], "unknown kind of action 'direction'; did you mean 'directions'"),
    ],
)
def test_what_agents_cannot_see_or_do(refuses: Callable[..., None], options: list[str], message: str) -> None:
    refuses(train.main, message, *options)
