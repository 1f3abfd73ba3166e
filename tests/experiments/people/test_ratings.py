"""People who rate what others made, people who steer a language model, and checks of attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.people.export import finished, report_of, tables_of, traces_of
from steer_env.humans.writers import Writer
from tests.experiments.people.conftest import Hall, fields
from tests.experiments.run.headlines.conftest import metric_folder, model, model_folder

__all__ = ["metric_folder", "model", "model_folder"]
Open = Callable[..., Hall]


def steered(hall: Open, *overrides: str) -> Hall:
    house = hall("conditions=[images:random-bucket,text]", "sessions=2", "design=within", "env.rounds=2", *overrides)
    house.person().play()
    return house


@pytest.mark.parametrize(
    ("question", "kind", "shown"),
    [
        ("similarity", "rate", {-1, 0, 1, 2, 3, 4}),
        ("satisfaction", "rate", {0, 1, 2, 3, 4}),
        ("improvement", "compare", {0, 4}),
        ("prompt", "compare", {-1, 4}),
    ],
)
def test_ratings(hall: Open, question: str, kind: str, shown: set[int]) -> None:
    made = steered(hall)
    spec = f'conditions=["ratings:question={question},of={made.folder},goals=2"]'
    house = hall(spec, "sessions=1")
    person = house.person()
    person.play(until=kind)
    answers = {f"value-{place}": str(1 + place % 4) for place in range(6)} if kind == "rate" else {"position": "1"}
    if kind == "rate":
        reply = person.answer(**{**answers, "value-2": "11"})
        assert reply.status_code == 422
        assert "Please rate every image." in reply.text
    while kind in person.step:
        for item in ("goal", "0", "1"):
            found = house.client.get(f"{person.path}/picture/{person.step}/{item}.png")
            assert found.headers["content-type"] == "image/png"
        person.answer(**answers)
    person.play()
    (session,) = finished(house.study, house.store)
    rated = [session.events["rated", place] for place in range(2)]
    sources = [house.study.sources[0][event["source"]] for event in rated]
    assert sorted(source.policy for source in sources) == ["person", "random bucket"]
    table = tables_of(house.study, house.store)["ratings"]
    scale = kind == "rate"
    assert len(table) == (sum(source.attempts for source in sources) + 2 * (question == "similarity") if scale else 2)
    assert table["similarity"].notna().all() == (question != "prompt")
    assert table.columns.str.startswith("similarity").sum() == (1 if question == "prompt" else 2)
    if question == "improvement":
        (trace,) = [trace for trace in traces_of(made.study, made.store) if trace.policy == "person"]
        (row,) = table[table["policy"] == "person"].to_dict("records")
        judged = trace.judged["pixel-correlation"]
        assert row["similarity"] == pytest.approx(trace.similarities[-1] - trace.similarities[0])
        assert row["similarity pixel-correlation"] == pytest.approx(judged[-1] - judged[0])
    assert table["duplicate"].sum() == (2 if question == "similarity" else 0)
    for event, source in zip(rated, sources, strict=True):
        expected = {attempt for attempt in shown if attempt < source.attempts or attempt == 4}
        last = {4: source.attempts - 1}
        assert set(event["attempts"]) == {last.get(attempt, attempt) for attempt in expected}
        assert len(event["values"]) == len(event["attempts"])
    assert report_of(house.study, house.store).sections[0].title == "What raters say"


def test_headlines_by_the_rule(
    hall: Open, model_folder: Path, metric_folder: Path, model: Writer, tmp_path: Path
) -> None:
    rows = [f"dark stars {i},,red rain" for i in range(4)]
    (tmp_path / "own.csv").write_text("\n".join(["original,goal_prompt,goal", *rows]) + "\n")
    house = hall(
        *(f'conditions=["headlines:suite=csv:{tmp_path / "own.csv"},attempts=2"]', "sessions=1"),
        f"sentences.path={metric_folder}",
        model=model,
    )
    people = [house.person() for _ in range(2)]
    for person in people:
        person.play(until="headline")
    person = people[0]
    assert "red rain" in person.page
    live = house.client.post(f"{person.path}/words", data={"prompt": "make it RED, please"})
    assert live.json() == {"words": ["RED"]}
    refused = person.answer(prompt="make it rain")
    assert refused.status_code == 422
    assert "rain" in refused.text
    assert "headline.written.0" in person.step
    for each, instructions in zip(people, ("make it wet", "make it dry"), strict=True):
        each.answer(prompt=instructions)
    house.again()
    for each in people:
        assert "headline.written.1" in each.step
        each.answer(prompt="make it <wet>")
        each.play()
    first, second = traces_of(house.study, house.store)
    assert [len(trace.texts) for trace in (first, second)] == [2, 2]
    assert first.goal_text == "red rain"
    assert first.prompts[0].endswith("make it wet")
    assert first.texts[0] != second.texts[0]
    assert first.judged.keys() == {"word-overlap"}


def test_attention_is_checked_with_the_goal_among_the_options(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]", "sessions=2", "attention=1", "failures=0", "env.rounds=2")
    good, bad = house.person(), house.person()
    good.play(until="checked")
    log = house.store.log(1)
    assert (0, "chosen", 0) in log
    page, step = good.page, good.step
    goal = house.client.get(f"{good.path}/picture/{step}/goal.png").content
    options = [house.client.get(f"{good.path}/picture/{step}/{item}.png").content for item in range(3)]
    assert options.count(goal) == 1
    assert "Keep your image" not in page
    good.answer(position=str(options.index(goal)))
    assert house.store.log(1)[0, "checked", 1]["passed"]
    bad.play(until="checked")
    step = bad.step
    goal = house.client.get(f"{bad.path}/picture/{step}/goal.png").content
    options = [house.client.get(f"{bad.path}/picture/{step}/{item}.png").content for item in range(3)]
    bad.answer(position=str((options.index(goal) + 1) % 3))
    assert "The study ends here" in bad.page
    assert not fields(bad.page).get("step")
    assert not [session for session in finished(house.study, house.store) if session.person == 2]
