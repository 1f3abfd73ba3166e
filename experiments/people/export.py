"""What comes out: traces, as simulated users leave them, from the log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from experiments.people.log import Store
from experiments.people.screens import screen_of
from experiments.people.study import Study
from experiments.run import Run
from steer_env.tasks import load_suite
from steer_env.traces import SteeringTrace, write_traces


def export(study: Study, run: Run) -> dict[str, Any]:
    """Write all that is in a study's folder beside it."""
    store = Store(run.folder, lambda log: screen_of(log, study).waits)
    traces = traces_of(study, store)
    write_traces(traces, run.folder / "traces" / "people.parquet")
    return {"traces": len(traces)}


def traces_of(study: Study, store: Store) -> list[SteeringTrace]:
    """Of all finished sessions, one of each cell."""
    from steer_env.evaluation.suites import evaluation_seed

    traces = []
    for person, log in store.logs().items():
        plan = log.get((-1, "assigned", 0))
        if plan is None or (-1, "failed", 0) in log:
            continue
        for session, (place, goal) in enumerate(plan["cells"]):
            if (session, "finished", 0) not in log:
                continue
            condition = study.conditions[place]
            task = load_suite(condition.options.suite)[goal]
            events = {(kind, step): data for (own, kind, step), data in log.items() if own == session}
            if written := events.get(("written", 0)):
                task = replace(task, prompt=written["prompt"])
            record = _KINDS[condition.kind](events, condition.steps)
            traces.append(
                SteeringTrace.of(task, human=f"person-{person}", episode_seed=evaluation_seed(goal), **record)
            )
    return traces


def _images(events: dict[tuple[str, int], Any], rounds: int) -> dict[str, Any]:
    offers = [events["offered", place] for place in range(rounds)]
    choices = [events["chosen", place]["choice"] for place in range(rounds)]
    return {
        **offers[0]["facts"],
        "scales": [offer["scale"] for offer in offers],
        "choices": choices,
        "similarities": _held([offer["similarities"] for offer in offers], choices),
        "judged": {name: _held([offer["judged"][name] for offer in offers], choices) for name in offers[0]["judged"]},
        "images": offers[-1]["images"],
    }


def _held(shown: list[list[float]], choices: list[int]) -> list[float]:
    """Of the first image, and of each that was gone on with."""
    return [shown[0][0], *(values[choice] for values, choice in zip(shown, choices, strict=True))]


def _texts(events: dict[tuple[str, int], Any], attempts: int) -> dict[str, Any]:
    made = [events["made", place] for place in range(attempts)]
    written = [events["written", place] for place in range(attempts)]
    chosen = {"seeds": "seed", "guidance": "guidance"}
    return {
        **events["begun", 0]["facts"],
        "prompts": [event["prompt"] for event in written],
        "similarities": [event["similarity"] for event in made],
        "judged": {name: [event["judged"][name] for event in made] for name in made[0]["judged"]},
        **{field: [event[name] for event in written] for field, name in chosen.items() if name in written[0]},
        "images": made[-1]["images"],
    }


_KINDS = {"images": _images, "text": _texts}
