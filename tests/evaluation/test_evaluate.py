from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steer_env


def test_policies_are_compared_in_one_call(tmp_path: Path) -> None:
    mine = steer_env.TablePolicy("mine", np.full((4, 2), 0.9))
    result = steer_env.evaluate([mine, "best-known", "text:attribute"], tasks=2, baseline="mine")
    assert len(result.frame) == 6
    assert set(result.frame["suite"]) == {"tiles-test-v1"}
    table = result.table().set_index("policy")
    gains = result.frame.groupby("policy")["improvement"].mean()
    for policy, gain in gains.items():
        assert table.loc[policy, "avg. change"].startswith(f"{gain:.4f} (")
    result.report().save(str(tmp_path / "report"))
    assert "Paired differences from “mine”" in (tmp_path / "report" / "report.md").read_text()
    again = steer_env.evaluate([mine], tasks=2, judges=(), rounds=4)
    assert again.baseline == "mine"
    assert [trace.scales for trace in again.traces] == [[0.9] * 4] * 2


@pytest.mark.parametrize(
    ("policies", "options", "message"),
    [
        ("best-known", {}, "policies must be a list of at least one, got 'best-known'"),
        ([], {}, "policies must be a list of at least one"),
        (["best-knwn"], {}, "did you mean 'best-known'"),
        (["published"], {"baseline": "mine"}, "the baseline 'mine' isn't among the policies evaluated: published"),
        (["published"], {"tasks": 1}, "tasks must be at least 2, got 1"),
        (["published"], {"tasks": 10**6}, "has 2000 tasks, 1000000 were asked for"),
        (["published"], {"humn": "greedy"}, "unknown argument 'humn'; did you mean 'human'"),
    ],
)
def test_wrong_arguments(policies: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        steer_env.evaluate(policies, **options)
