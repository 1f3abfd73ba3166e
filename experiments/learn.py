"""Learn from recorded sessions, people's among them: ``python -m experiments.learn sessions=[outputs/people]``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.run import REQUIRED, Run, RunOptions, choice, command, option, say
from experiments.run.evaluations import sessions_in
from experiments.run.options import AgentOptions
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import UNKNOWN
from steer_env.registry import Registry


@dataclass
class LearnOptions(RunOptions):
    """Train a bandit on recorded sessions of image steering, one after another in the order of their files.

    The folder's policy/ can be played like any other. What is learned equals what a bandit learned that saw the same
    sessions live, in the same order.

    Args:
        sessions: folders of traces, or of commands that left some.
        policies: names; only sessions that these policies steered are learned from, by default all.
        live: folder of a learner that saw the sessions live, such as learned/0 of a study; the result says whether it
            knows the same, to the last digit.
        seed: of the policy; nothing is drawn.
        agent: thompson, thompson-eq9 or planning.
    """

    sessions: list[str] = option(REQUIRED, length=1, unique=True)
    policies: list[str] = option([], unique=True)
    live: str = ""
    seed: int = option(0, least=0)
    agent: AgentOptions = choice(AgentOptions, "thompson")


@command(LearnOptions)
def main(options: LearnOptions, run: Run) -> dict[str, Any]:
    """Read the sessions, learn from each, and leave the policy with its value function."""
    from agents.live import learned, replay

    settings = vars(options.agent)
    if "kind" not in settings:
        name = settings.get("algorithm", settings["name"])
        raise ValueError(f"agent={name} learns only while it plays; choose thompson or planning")
    traces = sessions_in(options.sessions)
    steered = Registry("policy of these sessions", {trace.policy: trace.policy for trace in traces})
    names = [steered[name] for name in options.policies or steered]
    traces = [trace for trace in traces if trace.policy in names]
    known = learned(Path(options.live).expanduser()) if options.live else None
    agent = replay(traces, settings)
    policy = agent.policy(settings["name"], options.seed)
    policy.save(run.open() / "policy")
    text = f"{len(traces)} sessions. {agent.meaning}. A star marks the best scale."
    figure = plots.value_function(agent.means, agent.deviations, agent.counts)
    table = policy_table(policy.scales)
    run.publish(Report("Learned from recorded sessions", text, [Section("The policy", "", [table], [figure])]))
    result = {"sessions": len(traces), "scales": policy.scales.tolist()}
    if options.live:
        result["equals_live"] = known == json.loads(json.dumps(agent.state()))
        say(f"the learner in {options.live} knows {'the same' if result['equals_live'] else 'something else'}")
    return result


def policy_table(scales: np.ndarray) -> pd.DataFrame:
    """The scale of each round after a move and after a stay; before the first round there is neither."""
    rows = [[f"round {i + 1}", moved, stayed if i else UNKNOWN] for i, (moved, stayed) in enumerate(scales)]
    return pd.DataFrame(rows, columns=["", "after a move", "after a stay"])


if __name__ == "__main__":
    main()
