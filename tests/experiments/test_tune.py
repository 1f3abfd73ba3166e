import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from optuna.trial import TrialState

from agents.files import RunExistsError
from experiments import train, tune
from experiments.run import learning, playing
from experiments.run.command import check_overrides
from experiments.run.options import CONF
from experiments.tune import Trials, read_space, with_values
from steer_env.evaluation import rollout
from tests.markdown import compact

pytestmark = pytest.mark.usefixtures("blots")

SMALL = ["agent=thompson", "episodes=4", "batch=4", "tasks=2", "env.rounds=2", "trials=2"]
AGENTS = sorted(path.stem for path in (CONF / "agent").glob("*.yaml"))


def config(*overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_object(compose("tune", ["folder=x", *overrides]))


@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_has_a_space_that_holds_its_own_values(agent: str) -> None:
    tuned = config(f"agent={agent}")
    assert read_space(tuned.space, tuned.agent)


def test_trials_are_made_reported_and_gone_on_with(
    command: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command(tune.main, f"folder={whole}", *SMALL)
    result = json.loads((whole / "result.json").read_text())
    assert result["trials"] == 2
    assert "| 0 | " in compact((whole / "report.md").read_text())
    assert list((whole / "figures").glob("*.png"))
    # Stopped in the middle of the second trial.
    plays = iter([False, True])
    play = Trials._play

    def stopped(self: Trials, trial: Any) -> Any:
        if next(plays):
            raise KeyboardInterrupt
        return play(self, trial)

    with monkeypatch.context() as patch:
        patch.setattr(Trials, "_play", stopped)
        with pytest.raises(SystemExit, match="130"):
            command(tune.main, f"folder={parts}", *SMALL)
    first = (parts / "training" / "0000" / "checkpoint.json").stat().st_mtime_ns
    with pytest.raises(RunExistsError, match=r"holds trials with .*'tasks': 2.*, not .*'tasks': 3"):
        command(tune.main, f"folder={parts}", *SMALL, "tasks=3")
    command(tune.main, f"folder={parts}", *SMALL)
    assert (parts / "training" / "0000" / "checkpoint.json").stat().st_mtime_ns == first, "played once"
    assert (parts / "report.md").read_text() == (whole / "report.md").read_text()
    command(
        train.main, f"hydra.searchpath=[file://{whole}]", "agent=tuned", f"folder={tmp_path / 'tuned'}", *SMALL[1:3]
    )
    agent = OmegaConf.load(tmp_path / "tuned" / "config.yaml").agent
    assert agent.prior_variance == result["best"]["prior_variance"]
    assert agent.cells == "round-stayed"


def test_trials_are_pruned_at_checkpoints_and_failed_ones_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings that report what their prior variance says, without being played."""
    tuned = config("agent=thompson", "trials=12", "pruner=median", "tasks=2")
    seen: list[float] = []

    def learner(changed: Any) -> Callable[..., Any]:
        def learn(folder: Path, logger: Any) -> Any:
            worth = changed.agent.prior_variance
            seen.append(worth)
            if len(seen) == 3:
                raise ValueError("infinite weights")
            for step in (256, 512):
                logger.metrics(step, {"improvement/mean": worth})
            return worth

        return learn

    class Played:
        def __init__(self, improvement: float) -> None:
            self.improvement = improvement

    monkeypatch.setattr(learning, "make_learner", learner)
    monkeypatch.setattr(
        playing, "play_suite", lambda policies, *_, **__: [Played(policies[0]), Played(policies[0] + 1)]
    )
    found = Trials(tuned, read_space(tuned.space, tuned.agent), tmp_path)
    found.run()
    states = [trial.state for trial in found.finished]
    assert seen[0] == 1.0, "the agent's own value first"
    assert len(set(seen)) == len(seen) == 12
    assert states[2] == TrialState.FAIL
    assert TrialState.PRUNED in states
    complete = [trial.params["prior_variance"] for trial in found.finished if trial.state == TrialState.COMPLETE]
    assert found.best.params["prior_variance"] == max(complete) == max(seen[:2] + seen[3:])
    assert found.best.value == pytest.approx(max(complete) + 0.5)
    again = Trials(tuned, read_space(tuned.space, tuned.agent), tmp_path)
    again.run()
    assert len(seen) == 12, "nothing is repeated"


def test_a_space_is_changed_from_the_command_line() -> None:
    words = ["agent=ppo", "space.settings.learning_rate.high=0.1", "+space.settings.gamma.choices=[0.9,1.0]"]
    check_overrides("tune", tune.TuneOptions, words)
    assert config(*words).space["settings"]["gamma"] == {"choices": [0.9, 1.0]}
    with pytest.raises(ValueError, match="unknown agent 'pbo'"):
        check_overrides("tune", tune.TuneOptions, ["agent=pbo", "space.settings.gamma.low=0.1"])


def test_an_agents_own_values_must_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def learner(changed: Any) -> Callable[..., Any]:
        raise ValueError("no such optimiser")

    monkeypatch.setattr(learning, "make_learner", learner)
    tuned = config("agent=ppo")
    with pytest.raises(ValueError, match="no such optimiser"):
        Trials(tuned, read_space(tuned.space, tuned.agent), tmp_path).run()


def test_values_reach_nested_options() -> None:
    tuned = config("agent=recurrent-ppo")
    changed = with_values(tuned, {"settings.policy_kwargs.lstm_hidden_size": 8, "settings.gae_lambda": 0.5})
    assert changed.agent.settings["policy_kwargs"]["lstm_hidden_size"] == 8
    assert (changed.agent.settings["gae_lambda"], tuned.agent.settings["gae_lambda"]) == (0.5, 0.95)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "there is nothing to tune"),
        ({"settings": {"gama": {"low": 0, "high": 1}}}, r"space\.settings\.gama isn't an option that agent 'PPO' sets"),
        ({"settings": {"gamma": 3}}, r"space\.settings\.gamma must hold choices, or low and high, got 3"),
        ({"settings": {"gamma": {"low": 0.9}}}, r"must hold choices, or low, high and log, got {'low': 0\.9}"),
        ({"settings": {"gamma": {"choices": [1.0], "log": True}}}, "must hold choices, or low, high and log"),
        ({"settings": {"gamma": {"low": 0.5, "high": 0.9}}}, r"agent\.settings\.gamma is 1\.0, outside of space"),
        ({"settings": {"n_steps": {"choices": [4, 8]}}}, r"agent\.settings\.n_steps is 16, outside of space"),
    ],
)
def test_a_space_that_cant_be_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_space(space, config("agent=ppo").agent)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trials=0", "trials must be at least 1, got 0"),
        ("pruner=mean", "unknown pruner 'mean'; did you mean 'median'"),
        ("suite=tiles-test-v1", "tiles-test-v1 is for testing what was tuned"),
        ("tasks=1", "tasks must be at least 2, got 1"),
        ("tasks=2001", "tasks must be 2 to 2000, the size of tiles-val-v1, got 2001"),
    ],
)
def test_bad_input_is_refused_before_any_training(
    refuses: Callable[..., None], monkeypatch: pytest.MonkeyPatch, override: str, message: str
) -> None:
    monkeypatch.setattr(rollout, "play", None)
    refuses(tune.main, message, *SMALL, override)
