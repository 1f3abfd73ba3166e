"""Tune an agent's hyper-parameters: ``python -m experiments.tune agent=ppo folder=outputs/tuned trials=20``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pandas as pd

from agents.files import RunExistsError
from experiments.run import EnvOptions, PlayOptions, Run, choice, command, option, say
from experiments.run.options import AgentOptions, TrainingOptions
from experiments.run.parts import env_options
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import Estimate, estimate
from steer_env.files import reading, write_atomically
from steer_env.tasks import load_suite

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from agents.loggers import Logger

_SAME = ("episodes", "batch", "tasks", "suite", "seed", "pruner")
"""Options in which all trials of a journal agree."""
_RANGE = {"low", "high", "log"}


@dataclass
class TuneOptions(PlayOptions, TrainingOptions):
    """Tune an agent's hyper-parameters by trials of Optuna's: each a training, and a game on each validation task.

    The first trial has the agent's own values, the next few are drawn at random, and the others by Optuna's TPE. The
    folder also receives agent/tuned.yaml, the best setting as a configuration: with hydra.searchpath=[file://FOLDER],
    agent=tuned trains it. The same command goes on with a stopped tuning.

    Args:
        trials: in all.
        episodes: of each training; a checkpoint is 8 batches.
        seed: of every random draw, and of the search.
        suite: tasks that judge the trials; env.suite has those on which they are trained. No test suite.
        tasks: how many tasks of suite, from its first.
        pruner: ends trainings at a checkpoint where the last episodes improved less than in other trials: median, less
            than the median of them; halving, less than the best quarter; none.
        space: options of the agent to tune, by default conf/space/NAME.yaml of agent=NAME: for each one choices, or
            low, high and log, such as space.settings.learning_rate.high=0.1.
    """

    trials: int = option(20, least=1)
    episodes: int = option(2048, least=1)
    suite: str = "tiles-val-v1"
    tasks: int = option(400, least=2)
    pruner: str = option("median", among=("median", "halving", "none"))
    env: EnvOptions = field(default_factory=EnvOptions)
    agent: AgentOptions = choice(AgentOptions, "ppo")
    space: dict[str, Any] = choice(dict, "${agent}")


@command(TuneOptions)
def main(options: TuneOptions, run: Run) -> dict[str, Any]:
    """Play the trials that are missing, report, and leave the best setting as a configuration."""
    distributions = _check(options)
    trials = Trials(options, distributions, run.open())
    trials.run()
    run.publish(tuning_report(trials, options), wide=True)
    path, best = write_best(trials, options, run.folder), trials.best
    say(f"wrote {path}: experiments.train 'hydra.searchpath=[file://{run.folder.resolve()}]' agent=tuned")
    return {"trials": len(trials.finished), "best": {"trial": best.number, **best.params}}


def _check(options: TuneOptions) -> Mapping[str, BaseDistribution]:
    """The search space, with all parts loaded."""
    if not find_spec("optuna"):
        raise ModuleNotFoundError("tuning needs a package that isn't here: make setup")
    from experiments.run.learning import make_learner
    from experiments.run.playing import check_tasks

    distributions = read_space(options.space, options.agent)
    if getattr(load_suite(options.suite), "split", "") == "test":
        raise ValueError(f"{options.suite} is for testing what was tuned: tune on a validation suite, tiles-val-v1")
    check_tasks(options.tasks, **env_options(options, suite=options.suite))
    make_learner(options)
    return distributions


def read_space(space: Mapping[str, Any], agent: AgentOptions) -> dict[str, BaseDistribution]:
    """Option of the agent, such as ``settings.gamma``, → its possible values, the agent's own among them.

    A leaf of the space has ``choices``, or ``low``, ``high`` and, for a search by orders of magnitude, ``log``.
    """
    leaves = dict(_leaves(space, ""))
    if not leaves:
        raise ValueError("there is nothing to tune: space has no options; see conf/space for examples")
    own_values, distributions = values_of(agent, list(leaves)), {}
    for name, leaf in leaves.items():
        own = own_values[name]
        if own is None:
            raise ValueError(f"space.{name} isn't an option that agent {agent.name!r} sets: agent.{name}=…")
        distributions[name] = _distribution(name, leaf)
        inside = own in leaf["choices"] if "choices" in leaf else leaf["low"] <= own <= leaf["high"]
        if not inside:
            raise ValueError(f"agent.{name} is {own}, outside of space.{name}: {leaf}")
    return distributions


def _leaves(node: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(node, Mapping):
        raise ValueError(f"space.{place} must hold choices, or low and high, got {node!r}")
    if {"choices", "low", "high"} & set(node):
        yield place, node
        return
    for name, inner in node.items():
        yield from _leaves(inner, f"{place}.{name}".lstrip("."))


def _distribution(name: str, leaf: Mapping[str, Any]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if set(leaf) == {"choices"}:
        return CategoricalDistribution(leaf["choices"])
    if not {"low", "high"} <= set(leaf) <= _RANGE:
        raise ValueError(f"space.{name} must hold choices, or low, high and log, got {dict(leaf)}")
    whole = isinstance(leaf["low"], int) and isinstance(leaf["high"], int)
    return (IntDistribution if whole else FloatDistribution)(**leaf)


def values_of(agent: AgentOptions, names: Sequence[str]) -> dict[str, Any]:
    """The agent's values of its options, such as ``settings.gamma``; None where it doesn't set one."""
    from omegaconf import OmegaConf

    config = OmegaConf.create(asdict(agent))
    return {name: OmegaConf.select(config, name) for name in names}


def with_values(options: TuneOptions, values: Mapping[str, Any]) -> TuneOptions:
    """The same options, with these values of the agent's."""
    from omegaconf import OmegaConf

    config = OmegaConf.structured(options.agent)
    for name, value in values.items():
        OmegaConf.update(config, name, value)
    agent: Any = OmegaConf.to_object(config)
    return replace(options, agent=agent)


class Trials:
    """A tuning's trials: a training and a validation each.

    The run's folder receives ``training/trials.log``, a journal from which a stopped tuning goes on, and a folder a
    trial. A journal with trials of another kind is refused.
    """

    def __init__(self, options: TuneOptions, distributions: Mapping[str, BaseDistribution], folder: Path) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        pruners = {
            "median": optuna.pruners.MedianPruner,
            "halving": optuna.pruners.SuccessiveHalvingPruner,
            "none": optuna.pruners.NopPruner,
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._options, self._distributions, self._folder = options, dict(distributions), folder / "training"
        self._folder.mkdir(exist_ok=True)
        journal = self._folder / "trials.log"
        with reading(journal):
            self._study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(journal))),
                study_name="tune",
                direction="maximize",
                pruner=pruners[options.pruner](),
                load_if_exists=True,
            )
        kind = {name: getattr(options, name) for name in _SAME}
        before = self._study.user_attrs.get("kind", kind)
        if before != kind:
            raise RunExistsError(f"{folder} holds trials with {before}, not {kind}: overwrite=true")
        self._study.set_user_attr("kind", kind)

    @property
    def finished(self) -> list[FrozenTrial]:
        """Trials that are over, in their order."""
        return [trial for trial in self._study.get_trials() if trial.state.is_finished()]

    @property
    def best(self) -> FrozenTrial:
        """The one with the largest mean improvement."""
        return self._study.best_trial

    def figure(self) -> Figure:
        """Improvement of the complete trials against each option's value, a panel each."""
        import matplotlib
        from optuna.exceptions import ExperimentalWarning
        from optuna.visualization.matplotlib import plot_slice

        # Optuna draws by pyplot, which would look for a screen.
        matplotlib.use("Agg")
        with catch_warnings():
            simplefilter("ignore", ExperimentalWarning)
            panels: Any = plot_slice(self._study, target_name="improvement")
            return np.ravel(panels)[0].figure

    def run(self) -> None:
        """Play the missing trials; after a Ctrl-C, the stopped one is the next."""
        import optuna
        from optuna.trial import TrialState

        while len(self.finished) < self._options.trials:
            trial = self._next()
            try:
                result = self._play(trial)
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
                self._study.tell(trial, result.value)
                say(f"trial {trial.number}: {result} {trial.params}")

    def _next(self) -> optuna.Trial:
        """The trial that was stopped, or a new one; the agent's own values are the first."""
        import optuna
        from optuna.trial import TrialState

        stopped = self._study.get_trials(states=(TrialState.RUNNING,))
        if stopped:
            # Optuna gives no public handle of a trial that another process began.
            return optuna.Trial(self._study, stopped[0]._trial_id)
        number = len(self._study.get_trials())
        if not number:
            self._study.enqueue_trial(values_of(self._options.agent, list(self._distributions)))
        # Draws depend on the trial's number alone, so that going on gives the same trials as never having stopped.
        seed = np.random.SeedSequence([self._options.seed, number]).generate_state(1)[0]
        self._study.sampler = optuna.samplers.TPESampler(seed=int(seed))
        return self._study.ask(self._distributions)

    def _play(self, trial: optuna.Trial) -> Estimate:
        from experiments.run.learning import make_learner
        from experiments.run.playing import play_suite

        folder, options = self._folder / f"{trial.number:04d}", self._options
        policy = make_learner(with_values(options, trial.params))(folder, _reporting(trial))
        if policy is None:
            raise KeyboardInterrupt
        tested = env_options(options, suite=options.suite)
        traces = play_suite([policy], options.tasks, options.tasks_per_batch, folder / "validation", **tested)
        gains = [trace.improvement for trace in traces]
        trial.set_user_attr("improvements", gains)
        return estimate(np.array(gains))


def _reporting(trial: optuna.Trial) -> Logger:
    """Reports each checkpoint's last episodes to the pruner."""
    import optuna

    from agents.loggers import Logger

    class Reporting(Logger):
        def metrics(self, step: int, values: Mapping[str, float | np.ndarray]) -> None:
            trial.report(float(values["improvement/mean"]), step)
            if trial.should_prune():
                raise optuna.TrialPruned

    return Reporting()


def improvements(trial: FrozenTrial) -> np.ndarray:
    """On each validation task, float (T,), of a complete trial."""
    return np.array(trial.user_attrs["improvements"])


def tuning_report(trials: Trials, options: TuneOptions) -> Report:
    """The trials, best first; what the best gains over the agent's own values; improvement by each option."""
    finished, best = trials.finished, trials.best
    gain = estimate(improvements(best) - improvements(finished[0]))
    lead = (
        f"{len(finished)} settings of {options.agent.name}, each trained for {options.episodes} episodes of "
        f"{options.env.suite} with seed {options.seed}, and then played on the same {options.tasks} tasks of "
        f"{options.suite}; pruner {options.pruner}. Standard errors over tasks in parentheses."
    )
    sections = [
        Section("Trials", "Trial 0 has the agent's own values.", [_table(finished)]),
        Section(
            f"Trial {best.number} against the agent's own values",
            "On the same tasks. The best of several is flattered by its luck with these tasks and with its one "
            "training: train it with several seeds and evaluate it on test tasks before believing the difference.",
            [pd.DataFrame([("trial 0", gain)], columns=["minus", "difference"])],
        ),
        Section("Improvement by option", "Complete trials, darker the later.", figures=[trials.figure()]),
    ]
    return Report(f"Tuning {options.agent.name}", lead, sections)


def write_best(trials: Trials, options: TuneOptions, folder: Path) -> Path:
    """The best trial's agent as ``agent/tuned.yaml``, for ``hydra.searchpath=[file://FOLDER] agent=tuned``."""
    from omegaconf import OmegaConf

    agent = with_values(options, trials.best.params).agent
    schema = f"{type(agent).__name__.removesuffix('Options').lower()}_schema"
    path, gained = folder / "agent" / "tuned.yaml", estimate(improvements(trials.best))
    trained = f"{len(trials.finished)} settings that experiments.tune tried, with {options.episodes} episodes each"
    write_atomically(
        path,
        f"# The best of {trained}:\n# improvement {gained} on {options.tasks} tasks of {options.suite}.\n"
        f"defaults:\n  - {schema}\n  - _self_\n\n{OmegaConf.to_yaml(agent)}",
    )
    return path


def _table(finished: Sequence[FrozenTrial]) -> pd.DataFrame:
    complete = {trial.number: estimate(improvements(trial)) for trial in finished if trial.state.name == "COMPLETE"}
    rows = []
    for trial in sorted(finished, key=lambda trial: (trial.number not in complete, -(trial.value or 0))):
        shown = str(complete[trial.number]) if trial.number in complete else trial.state.name.lower()
        values = {
            name.removeprefix("settings."): f"{value:.3g}" if isinstance(value, float) else str(value)
            for name, value in trial.params.items()
        }
        rows.append({"trial": trial.number, "improvement": shown, **values})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
