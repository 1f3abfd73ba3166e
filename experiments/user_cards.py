"""How faithful simulated users are: ``python -m experiments.user_cards path=Steerability``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.run import EnvOptions, PlayOptions, Run, command, option
from experiments.run.evaluations import sessions_in
from experiments.run.parts import env_options
from experiments.run.released.files import load_study
from experiments.run.released.sessions import MAIN_SUITE, study_traces
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.statistics import people_or_tasks
from steer_env.evaluation.uncertainty import UNKNOWN, clustered_estimate
from steer_env.policies.lists import load_policies
from steer_env.policies.names import load_policy
from steer_env.tasks import load_suite
from steer_env.ties import TIE
from steer_env.traces import SteeringTrace, check_alike

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class UserCardsOptions(PlayOptions):
    """Put simulated users beside people: how often they stay, how well they choose, and what they gain.

    People are those of the released study, and of sessions that experiments.people left. Whether a person took the
    image that is most similar to the goal is known where the images can be made again, so not of the release, which
    has no similarities of image sessions either. The option human has no effect.

    Args:
        humans: simulated users who choose among images.
        prompters: simulated users who write prompts.
        policy: that the first play with.
        path: the release, as for experiments.study; empty for none.
        sessions: folders of traces of people, whose generator, metric and mechanism are those chosen here.
        tasks: that each simulated user plays.
    """

    humans: list[str] = option(
        ["greedy", "hesitant:threshold=0.015", "softmax:temperature=0.05", "softmax:temperature=0.13"], unique=True
    )
    prompters: list[str] = option(["text:person", "text:attribute", "text:feedback"], unique=True)
    policy: str = "published"
    path: str = ""
    sessions: list[str] = option([], unique=True)
    tasks: int = option(200, least=2)
    tasks_per_batch: int = option(20, least=1, most=65536)
    env: EnvOptions = field(default_factory=lambda: EnvOptions(suite="tiles-val-v1"))


@command(UserCardsOptions)
def main(options: UserCardsOptions, run: Run) -> dict[str, Any]:
    """Read people's sessions, have every simulated user play, and leave a card of each."""
    from experiments.run.playing import check_tasks
    from steer_env.evaluation.suites import evaluate, evaluation_seed

    policy, env = load_policy(options.policy), env_options(options)
    prompters = load_policies(options.prompters)
    check_tasks(options.tasks, **env)
    for human in options.humans:
        check_tasks(options.tasks, **{**env, "human": human})
    cards = []
    if options.path:
        for suite, own in by_condition(study_traces(load_study(Path(options.path).expanduser()))).items():
            cards.append(card(f"people, {suite}", own))
    sessions = sessions_in(options.sessions) if options.sessions else []
    check_alike(sessions, ("suite", "generator", "metric", "mechanism"))
    if sessions:
        load_suite(sessions[0].suite)
    if len(rounds := sorted({len(trace.choices) for trace in sessions})) > 1:
        raise ValueError(f"sessions must have one number of rounds, found {rounds}")
    run.open()
    if sessions:
        cards.append(card("people, these sessions", sessions, chosen_best(sessions, **env)))
    every, size = range(options.tasks), options.tasks_per_batch
    for human in options.humans:
        batches = [
            watch(policy, part, [evaluation_seed(i) for i in part], **{**env, "human": human})
            for part in (every[start : start + size] for start in every[::size])
        ]
        traces, best = zip(*batches, strict=True)
        cards.append(card(human, [trace for part in traces for trace in part], np.concatenate(best)))
    for prompter in prompters:
        played = [t for batch in evaluate([prompter], options.tasks, options.tasks_per_batch, **env) for t in batch]
        cards.append(card(prompter.name, played))
    run.publish(cards_report(pd.DataFrame(cards), options), wide=True)
    return {"users": [each["user"] for each in cards]}


def by_condition(traces: Sequence[SteeringTrace]) -> dict[str, list[SteeringTrace]]:
    """People's sessions of the release, by suite: of image steering, and of the main survey of text steering."""
    conditions: dict[str, list[SteeringTrace]] = {}
    for trace in traces:
        if trace.choices or (trace.suite == MAIN_SUITE and trace.policy == "person"):
            conditions.setdefault(trace.suite, []).append(trace)
    return conditions


def card(user: str, traces: Sequence[SteeringTrace], best: np.ndarray | None = None) -> dict[str, str]:
    """A user's line, with errors clustered by person, or over tasks.

    ``best`` says whether the image most similar to the goal was taken, bool (n, R); None where it isn't known.
    """
    units = people_or_tasks(traces)

    def mean(values: np.ndarray, digits: str) -> str:
        return format(clustered_estimate(values, units), digits)

    row = {"user": user, "sessions": str(len(traces)), "people or tasks": str(units.nunique())}
    stays = np.array([trace.choices for trace in traces]) == 0
    known_rounds = stays.shape[1] if stays.size else 0
    for place in range(max(4, known_rounds)):
        known = place < known_rounds
        row[f"stays {place + 1}"] = mean(stays[:, place].astype(float), ".3f") if known else UNKNOWN
    row["takes the best"] = UNKNOWN if best is None else mean(best.mean(axis=1), ".3f")
    similarities = np.array([trace.similarities for trace in traces])
    gains = similarities[:, -1] - similarities[:, 0]
    known = bool(np.isfinite(gains).all())
    row["gain"] = mean(gains, ".4f") if known else UNKNOWN
    row["improved"] = mean((gains > 0).astype(float), ".3f") if known else UNKNOWN
    return row


class Repeating:
    """A policy and a user who do what was done in other sessions, round by round."""

    id = "repeating"

    def __init__(self, traces: Sequence[SteeringTrace]) -> None:
        self._scales, self._choices = (
            iter(np.array([getattr(trace, name) for trace in traces]).T.copy()) for name in ("scales", "choices")
        )

    def start(self, seeds: Sequence[int]) -> None:
        """Nothing is drawn."""

    def act(self, observation: Any) -> np.ndarray:
        """Scales float (N,)."""
        return next(self._scales)

    def choose(self, similarities: Tensor, draws: Tensor, persons: Tensor) -> Tensor:
        """Choices int64 (N,)."""
        import torch

        return torch.from_numpy(next(self._choices)).to(similarities.device)


def chosen_best(traces: Sequence[SteeringTrace], **options: Any) -> np.ndarray | None:
    """Whether people took the most similar image in each round, bool (n, R): their episodes are played again.

    None for sessions whose noise isn't known; a ValueError where other images come out.
    """
    if any(trace.episode_seed < 0 for trace in traces):
        return None
    again, seeds = Repeating(traces), [trace.episode_seed for trace in traces]
    options = {**options, "suite": traces[0].suite, "human": again}
    played, best = watch(again, [trace.task_index for trace in traces], seeds, **options)
    for before, now in zip(traces, played, strict=True):
        if np.abs(np.subtract(before.similarities, now.similarities)).max() > 0.01:
            raise ValueError(
                f"task {before.task_index} of {before.suite} had other images: choose the generator, metric and "
                f"mechanism of the sessions ({before.generator}, {before.metric}, {before.mechanism})"
            )
    return best


def watch(
    policy: Any, tasks: Sequence[int], episode_seeds: Sequence[int], **options: Any
) -> tuple[list[SteeringTrace], np.ndarray]:
    """Episodes of a policy with a simulated user, and whether the most similar image was taken: bool (n, R)."""
    from steer_env.evaluation.rollout import make_env, rounds

    policy.start(episode_seeds)
    env = make_env(len(tasks), **options)
    *_, recorder = rounds(env, list(tasks), episode_seeds, lambda observation, _: policy.act(observation)[:, None])
    best = [
        np.take_along_axis(outcome.similarities, outcome.choices[:, None], axis=1)[:, 0]
        >= outcome.similarities.max(axis=1) - TIE
        for outcome in recorder.outcomes
    ]
    return recorder.traces("watched"), np.stack(best, axis=1)


def cards_report(cards: pd.DataFrame, options: UserCardsOptions) -> Report:
    """The cards as a page."""
    text = (
        "Stays: share of sessions in which the image held was kept, by round. Takes the best: share of rounds in which "
        "the image most similar to the goal was taken, of all on the screen. A dash: the sessions don't say. Gains of "
        "people and of simulated users compare only on one generator and metric."
    )
    lead = (
        f"Simulated users on {options.tasks} tasks of {options.env.suite}, choosing with {options.policy}; standard "
        "errors in parentheses, clustered by person, or over tasks."
    )
    return Report("How faithful simulated users are", lead, [Section("Cards", text, [cards])])


if __name__ == "__main__":
    main()
