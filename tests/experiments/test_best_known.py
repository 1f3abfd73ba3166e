from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import best_known, evaluate, train
from steer_env.policies import read_policy
from steer_env.traces import read_traces, traces_to_frame

pytestmark = pytest.mark.usefixtures("blots")

SHORT = ("env.rounds=2", "env.proposals=1")


def test_the_best_known_policy_is_raced_for(tmp_path: Path, command: Callable[..., None]) -> None:
    for seed in (0, 1):
        options = ("episodes=16", "batch=8", f"seed={seed}", *SHORT)
        command(train.main, f"folder={tmp_path / 'sweep' / str(seed)}", *options)
    command(evaluate.main, f"folder={tmp_path / 'table'}", "tasks=2", "strips=0", *SHORT)
    race = (f"folder={tmp_path / 'best'}", f"trainings=['{tmp_path}/sweep/*']", "tasks=3", *SHORT)
    with pytest.raises(ValueError, match="is no bandit"):
        command(best_known.main, *race, "agents=[ppo]")
    with pytest.raises(ValueError, match=r"each of policies must be a table .* not text:blind"):
        command(best_known.main, *race, "policies=['text:blind']")
    with pytest.raises(ValueError, match="holds no finished training"):
        command(best_known.main, *race[:1], f"trainings=[{tmp_path / 'table'}]", *race[2:])
    with pytest.raises(ValueError, match="tasks must be at least 2"):
        command(best_known.main, *race, "tasks=1")
    command(best_known.main, *race, "agents=[planning,'planning:pooling=false']", "policies=['constant:0.4']")
    frame = traces_to_frame(read_traces(tmp_path / "best" / "traces"))
    means = frame.groupby("policy")["improvement"].mean()
    assert set(means.index) == {"constant 0.4", "planning", "planning:pooling=false"}
    kept = read_policy(tmp_path / "best" / "policy")
    assert kept.name == "best of 2 trainings"
    assert kept.card.training is not None
    assert kept.card.training.episodes == 32
    assert kept.card.training.settings["found by"] == means.idxmax()
    assert kept.card.training.settings["trainings"] == 2
    command(train.main, f"folder={tmp_path / 'sweep' / 'other'}", "episodes=8", "batch=8", "human=hesitant", *SHORT)
    with pytest.raises(ValueError, match="with different human can't be taken together: greedy, hesitant"):
        command(best_known.main, *race, "overwrite=true")
