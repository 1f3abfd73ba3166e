"""Trials of a tuning: one training and one validation each, kept in a journal that a stopped tuning goes on from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from agents.checkpoints import RunExistsError
from agents.loggers import NoLogger
from experiments.learners import make_learner
from experiments.playing import play_suite
from experiments.runs import env_options, say, stop
from experiments.search_space import own_values, with_values
from steer_env.evaluation.uncertainty import Estimate, estimate
from steer_env.registry import Registry

PRUNERS: Registry[Callable[[], BasePruner]] = Registry(
    "pruner", {"median": MedianPruner, "halving": SuccessiveHalvingPruner, "none": NopPruner}
)
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_SAME = ("episodes", "batch", "tasks", "suite", "seed", "pruner")


class Trials:
    """A tuning's trials.

    Args:
        config: of experiments.tune.
        distributions: from :func:`experiments.search_space.read_space`.
        folder: of the run; receives ``training/trials.log`` and a folder a trial.

    Raises:
        RunExistsError: the journal there is of trials of another kind.
    """

    def __init__(self, config: Any, distributions: Mapping[str, BaseDistribution], folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._config, self._distributions, self._folder = config, dict(distributions), folder / "training"
        self._folder.mkdir(exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(self._folder / "trials.log")))
        self._study = optuna.create_study(
            storage=storage,
            study_name="tune",
            direction="maximize",
            pruner=PRUNERS[config.pruner](),
            load_if_exists=True,
        )
        kind = {name: config[name] for name in _SAME}
        if self._study.user_attrs.get("kind", kind) != kind:
            raise RunExistsError(
                f"{folder} holds trials with {self._study.user_attrs['kind']}, not {kind}: overwrite=true"
            )
        self._study.set_user_attr("kind", kind)

    @property
    def finished(self) -> list[FrozenTrial]:
        """Trials that are over, in their order."""
        return self._study.get_trials(states=FINISHED)

    @property
    def best(self) -> FrozenTrial:
        """The one with the largest mean improvement."""
        return self._study.best_trial

    def run(self) -> None:
        """Play what is missing.

        Raises:
            SystemExit: after a Ctrl-C.
        """
        while len(self.finished) < self._config.trials:
            trial = self._next()
            try:
                found = self._play(trial)
            except optuna.TrialPruned:
                self._study.tell(trial, state=TrialState.PRUNED)
                say(f"trial {trial.number} pruned: {trial.params}")
            except (ValueError, FloatingPointError) as error:
                # Such as weights that a large step drove to infinity. The agent's own values must work.
                if not trial.number:
                    raise
                self._study.tell(trial, state=TrialState.FAIL)
                say(f"trial {trial.number} failed: {trial.params}: {error}")
            else:
                self._study.tell(trial, found.value)
                say(f"trial {trial.number}: {found} {trial.params}")

    def _next(self) -> optuna.Trial:
        """The trial that was stopped, or a new one; the agent's own values are the first."""
        stopped = self._study.get_trials(states=(TrialState.RUNNING,))
        if stopped:
            # Optuna gives no public handle of a trial that another process began.
            return optuna.Trial(self._study, stopped[0]._trial_id)
        number = len(self._study.get_trials())
        if not number:
            self._study.enqueue_trial(own_values(self._config.agent, self._distributions))
        # Draws depend on the trial's number alone, so that going on gives the same trials as never having stopped.
        seed = np.random.SeedSequence([self._config.seed, number]).generate_state(1)[0]
        self._study.sampler = optuna.samplers.TPESampler(seed=int(seed))
        return self._study.ask(self._distributions)

    def _play(self, trial: optuna.Trial) -> Estimate:
        folder = self._folder / f"{trial.number:04d}"
        policy = make_learner(with_values(self._config, trial.params))(folder, _Reporting(trial))
        if policy is None:
            stop(self._folder.parent)
        options = {**env_options(self._config), "suite": self._config.suite}
        tasks, at_a_time = self._config.tasks, self._config.tasks_per_batch
        traces = play_suite([policy], tasks, at_a_time, folder / "validation", **options)
        gains = [trace.improvement for trace in traces]
        trial.set_user_attr("improvements", gains)
        return estimate(np.array(gains))


def improvements(trial: FrozenTrial) -> np.ndarray:
    """On each validation task, float (T,), of a complete trial."""
    return np.array(trial.user_attrs["improvements"])


class _Reporting(NoLogger):
    """Tells the pruner of each checkpoint how much the training's last episodes improved."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial

    def metrics(self, step: int, values: Mapping[str, float | np.ndarray]) -> None:
        """See :class:`agents.loggers.Logger`."""
        self._trial.report(float(values["improvement/mean"]), step)
        if self._trial.should_prune():
            raise optuna.TrialPruned
