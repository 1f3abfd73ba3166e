from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.user_cards import card, chosen_best, main, watch
from steer_env.policies import TablePolicy
from steer_env.traces import SteeringTrace, write_traces

ENV = {"suite": "tiles-val-v1", "generator": "tiles:steps=1", "rounds": 4}
POLICY = TablePolicy.schedule("all", [1.0])


def test_cards_of_users_and_people_by_one_command(release: Path, tmp_path: Path, command: Callable[..., None]) -> None:
    people, right = watch(POLICY, range(3), [5, 6, 7], human="softmax:temperature=0.2", **ENV)
    people = [replace(trace, human=f"person-{i % 2}") for i, trace in enumerate(people)]
    write_traces(people, tmp_path / "study" / "traces" / "people.parquet")
    assert (chosen_best(people, **ENV) == right).all(), "played again, the same images were there"
    with pytest.raises(ValueError, match="had other images"):
        chosen_best([replace(people[0], similarities=[0.0] * 5), *people[1:]], **ENV)
    assert chosen_best([replace(people[0], episode_seed=-1)], **ENV) is None
    folders = (f"folder={tmp_path / 'run'}", f"path={release}", f"sessions=[{tmp_path / 'study'}]")
    few = ("tasks=3", "humans=[greedy]", "prompters=[text:person]", "generator.steps=1")
    command(main, *folders, *few)
    lines = (tmp_path / "run" / "report.md").read_text().splitlines()
    table = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
        for cells in (line.split("|") for line in lines)
        if len(cells) > 3
    }
    assert table["greedy"][6] == "1.000 (0.000)", "always takes the best"
    assert table["people, study-image-tiles"][6:] == ["–", "–", "–"]
    assert table["people, study-text"][2:7] == ["–"] * 5
    assert table["people, these sessions"][:2] == ["3", "2"]
    assert table["text person"][0] == "3"


def test_errors_are_clustered_by_person() -> None:
    traces, best = watch(POLICY, range(2), [1, 2], human="greedy", **ENV)
    assert best.all()
    doubled = [replace(trace, human=f"person-{i}") for trace in traces for i in (0, 1)]
    apart = [replace(trace, human=f"person-{i}") for i, trace in enumerate([*traces, *traces])]
    ends = [card("u", each)["gain"].split() for each in (doubled, apart)]
    assert ends[0][0] == ends[1][0]
    assert ends[0] != ends[1]
    assert np.isfinite(float(ends[0][1].strip("()")))


def test_sessions_that_cant_be_taken_together_are_refused_before_any_work(
    tmp_path: Path, command: Callable[..., None]
) -> None:
    sessions, _ = watch(POLICY, range(2), [5, 6], human="greedy", **ENV | {"rounds": 2})
    assert card("u", sessions)["stays 3"] == "–"
    other = {"suite": [replace(sessions[0], suite="x"), sessions[1]], "rounds": [sessions[0], _shorter(sessions[1])]}
    for name, traces in other.items():
        write_traces(traces, tmp_path / name / "traces" / "a.parquet")
        with pytest.raises(ValueError, match=f"different suite|must have one number of {name}, found"):
            command(main, f"folder={tmp_path / 'run'}", f"sessions=[{tmp_path / name}]", "humans=[]", "prompters=[]")
    assert not (tmp_path / "run").exists()


def _shorter(trace: SteeringTrace) -> SteeringTrace:
    parts = {name: list(getattr(trace, name))[:-1] for name in ("similarities", "scales", "choices", "propensities")}
    return replace(trace, **parts)
