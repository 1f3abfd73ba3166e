"""What policies would have gained in logged sessions: ``python -m experiments.off_policy sessions=[FOLDER]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from experiments.run import Run, RunOptions, command, option
from experiments.run.evaluations import sessions_in
from steer_env.evaluation import plots
from steer_env.evaluation.off_policy import FEW, Logged, OffPolicy, off_policy
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import Estimate, estimate
from steer_env.policies import Policy
from steer_env.policies.lists import load_policies
from steer_env.traces import SteeringTrace
from steer_env.types import Conditioning, Prompter

if TYPE_CHECKING:
    from torch import Tensor


TRUTH = 6000
"""Episodes behind the true value of a policy in the check."""
LEVEL = 0.95


@dataclass
class OffPolicyOptions(RunOptions):
    """Estimate what policies would have gained, from sessions in which other policies played.

    The sessions' policies must have drawn scales at random and logged how likely they were, as policies such as
    exploring:policy=published, random-bucket and learning bandits do.

    Args:
        sessions: folders of traces, or of commands that left some; empty for the check alone.
        policies: to evaluate, as for experiments.evaluate; they may see rounds and stays.
        check: studies that are simulated, in a toy world where the policies' true values are known, to see how often
            the intervals hold them; 0 for none.
        people: of a simulated study.
        sessions_each: of a person.
        logged: the policy that steers the simulated studies.
        seed: of the simulated studies.
    """

    sessions: list[str] = option([], unique=True)
    policies: list[str] = option(["published", "exploring:policy=published,explore=0.3"], length=1, unique=True)
    check: int = option(0, least=0)
    people: int = option(150, least=5)
    sessions_each: int = option(2, least=1)
    logged: str = "exploring:policy=published,explore=0.7"
    seed: int = option(0, least=0)


@command(OffPolicyOptions)
def main(options: OffPolicyOptions, run: Run) -> dict[str, Any]:
    """Read the sessions, evaluate, simulate studies if asked, and report."""
    policies = load_policies(options.policies)
    behaviour = load_policies([options.logged])
    if writers := [each.name for each in (*policies, *behaviour) if isinstance(each, Prompter)]:
        raise ValueError(f"off-policy evaluation is for policies that choose scales, not {', '.join(writers)}")
    choosing = cast("list[Policy]", policies)
    if not options.sessions and not options.check:
        raise ValueError("give sessions=[FOLDER] to evaluate on, or check=100 for simulated studies")
    logged, steered = None, "–"
    if options.sessions:
        traces = sessions_in(options.sessions)
        logged, steered = Logged.of(traces), ", ".join(dict.fromkeys(trace.policy for trace in traces))
        for policy in choosing:
            logged.chances(policy)
    run.open()
    estimated = {policy.name: off_policy(logged, policy) for policy in choosing} if logged else {}
    logging = cast("Policy", behaviour[0])
    studies = {policy.name: simulate(policy, logging, options) for policy in choosing if options.check}
    people = logged.units.nunique() if logged else 0
    run.publish(off_policy_report(estimated, steered, people, studies, options))
    coverage = {name: study.coverage() for name, study in studies.items()}
    values = {
        policy: {name: [each.value, each.error] for name, each in result.estimates.items()}
        for policy, result in estimated.items()
    }
    return {"estimates": values, "covered": coverage}


class Dots:
    """A toy generator whose images are its latents: the real dynamics, for next to nothing."""

    id, max_batch = "dots", 4096
    latent_shape, image_shape = (2, 4, 4), (3, 4, 4)

    def __init__(self) -> None:
        import torch

        self.device = torch.device("cpu")

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Nothing: all prompts are alike."""
        import torch

        return {"nothing": torch.zeros(len(prompts), 1)}

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """Images (B, 3, 4, 4), whose first channels are the latent."""
        import torch

        return torch.cat([latents, latents[:, :1] * latents[:, 1:]], dim=1).sigmoid()


@dataclass(frozen=True)
class Studies:
    """Simulated studies of one policy.

    Args:
        truth: its mean improvement when it plays itself.
        estimates: by name of the estimator, an estimate a study.
        effective: mean over studies, see :class:`steer_env.evaluation.off_policy.OffPolicy`.
    """

    truth: Estimate
    estimates: Mapping[str, Sequence[Estimate]]
    effective: float

    def coverage(self) -> dict[str, int]:
        """In how many studies the nominal 95 % interval holds the truth."""
        return {name: sum(self.holds(each) for each in estimates) for name, estimates in self.estimates.items()}

    def holds(self, each: Estimate) -> bool:
        """Does the interval of an estimate hold the true value?"""
        interval = each.interval(LEVEL)
        return interval.low <= self.truth.value <= interval.high


def simulate(policy: Policy, logged: Policy, options: OffPolicyOptions) -> Studies:
    """Have people of a toy world steer with one policy, and estimate another's improvement from that.

    A person has one task, and so a first image and a goal that make all of a person's sessions alike.
    """
    from rich.progress import track

    own = np.array([trace.improvement for trace in toy_sessions(policy, range(TRUTH), 1, options.seed)])
    studies = []
    for study in track(range(options.check), f"studies of {policy.name}", disable=options.check < 2):
        first = TRUTH + study * options.people
        tasks = range(first, first + options.people)
        studies.append(off_policy(toy_sessions(logged, tasks, options.sessions_each, options.seed + 1), policy))
    estimates = {name: [each.estimates[name] for each in studies] for name in studies[0].estimates}
    return Studies(estimate(own), estimates, float(np.mean([each.effective for each in studies])))


def toy_sessions(policy: Policy, people: range, sessions_each: int, seed: int) -> list[SteeringTrace]:
    """Sessions of people, a task each, by noisy users on :class:`Dots`."""
    from steer_env.evaluation.rollout import make_env, play
    from steer_env.evaluation.suites import evaluation_seed

    tasks = [person % 60_000 for person in people for _ in range(sessions_each)]
    noise = [seed * 1000 + number for _ in people for number in range(sessions_each)]
    seeds = [evaluation_seed(task, number) for task, number in zip(tasks, noise, strict=True)]
    human = {"name": "softmax", "temperature": 0.1}
    options = {"generator": Dots(), "metric": "pixel-correlation", "human": human, "suite": "tiles-train-v1"}
    traces: list[SteeringTrace] = []
    for start in range(0, len(tasks), 1000):
        part = slice(start, start + 1000)
        traces += play(make_env(len(tasks[part]), **options), [policy], tasks[part], seeds[part])
    return traces


def off_policy_report(
    estimated: Mapping[str, OffPolicy],
    steered: str,
    people: int,
    studies: Mapping[str, Studies],
    options: OffPolicyOptions,
) -> Report:
    """Estimates on the sessions, and how often they hold the truth where it is known."""
    sections = []
    if estimated:
        rows = [
            {
                "policy": policy,
                **{name: str(each.interval(LEVEL)) for name, each in result.estimates.items()},
                "people, in effect": f"{result.effective:.0f}{'' if result.trusted else ' (too few)'}",
            }
            for policy, result in estimated.items()
        ]
        text = (
            f"Sessions of {people} people, steered by {steered}. Mean improvement with 95 % intervals, clustered by "
            f"person. With fewer than {FEW:.0f} people in effect an interval is too narrow to be believed."
        )
        sections.append(Section("Estimates", text, [pd.DataFrame(rows)]))
    if studies:
        table = pd.DataFrame(_checked(name, study) for name, study in studies.items())
        text = (
            f"{options.check} studies of {options.people} people with {options.sessions_each} sessions each, steered "
            f"by {options.logged}, in a toy world. In how many of them the nominal 95 % interval holds the true value, "
            "and the interval's mean half width."
        )
        sections.append(Section("Simulated studies", text, [table], [coverage_figure(studies)]))
    lead = "What policies would have gained in sessions that other policies steered, from how likely those scales were."
    return Report("Off-policy evaluation", lead, sections)


def _checked(name: str, study: Studies) -> dict[str, str]:
    covered = study.coverage()
    cells = {
        estimator: f"{covered[estimator]} ± {np.mean([(e.interval(LEVEL).high - e.value) for e in estimates]):.4f}"
        for estimator, estimates in study.estimates.items()
    }
    return {"policy": name, "true value": str(study.truth), **cells, "people, in effect": f"{study.effective:.0f}"}


def coverage_figure(studies: Mapping[str, Studies]) -> plots.Figure:
    """Each study's interval about its estimate, in order, a row of panels a policy and a panel an estimator."""
    names = list(next(iter(studies.values())).estimates)
    figure, panels = plots.canvas(
        2.7 * len(names), 2.6 * len(studies), len(studies), len(names), sharey="row", squeeze=False
    )
    for row, (policy, study) in zip(panels, studies.items(), strict=True):
        for axes, name in zip(row, names, strict=True):
            ordered = sorted(study.estimates[name], key=lambda each: each.value)
            for place, each in enumerate(ordered):
                interval = each.interval(LEVEL)
                shade = plots.colour(0 if study.holds(each) else 3)
                axes.plot([place, place], [interval.low, interval.high], color=shade, lw=0.8)
            axes.axhline(study.truth.value, color="black", lw=0.8)
            axes.set_title(f"{name}: {study.coverage()[name]} of {len(ordered)}", fontsize="small")
            axes.set_xticks([])
        row[0].set_ylabel(policy, fontsize="small")
    return figure


if __name__ == "__main__":
    main()
