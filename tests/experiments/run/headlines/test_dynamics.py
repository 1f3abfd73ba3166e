import pytest

from experiments.run.headlines.dynamics import HeadlineDynamics
from experiments.run.headlines.embeddings import SentenceMetric
from experiments.run.headlines.rule import ForbiddenWordsError
from experiments.run.headlines.tasks import prompt_for
from steer_env.humans.writers import Writer, WriterError
from tests.experiments.run.headlines.scripted import Colours, Scripted, instructions_of, task


def written(request: object) -> str:
    return instructions_of(request).removeprefix("use ") + "\n"  # type: ignore[arg-type]


def test_similarities_are_those_worked_out_by_hand() -> None:
    model = Scripted(written)
    dynamics = HeadlineDynamics(model, Colours(), attempts=3)
    dynamics.reset([task(goal="Red red Blue", original="Blue sky"), task(1, goal="Green")], [1, 2])
    dynamics.rewrite(["use blue crimson", "use blue"])
    dynamics.rewrite(["use blue", "use"])
    assert dynamics.goals == ["Red red Blue", "Green"]
    assert dynamics.texts == [["blue crimson", "blue"], ["blue", "use"]]
    assert dynamics.instructions[0] == ["use blue crimson", "use blue"]
    assert dynamics.similarities[0] == pytest.approx([0.2**0.5, 0.2**0.5])
    assert dynamics.similarities[1] == pytest.approx([0, 0])


def test_the_model_writes_the_goal_and_every_attempt_has_a_seed_of_its_own() -> None:
    model = Scripted(lambda request: f"{request.seed} red")
    hidden = {"goal": "", "goal_prompt": prompt_for("The sky", "in red"), "goal_seed": 5}
    dynamics = HeadlineDynamics(model, Colours(), attempts=3)
    dynamics.reset([task(**hidden), task(**hidden)], [1, 2])
    assert dynamics.goals == ["5 red", "5 red"]
    for _ in range(3):
        dynamics.rewrite(["use green"] * 2)
    goal, first, *later = model.asked
    assert (goal.question, goal.seed, first.seed) == (hidden["goal_prompt"], 5, 7)
    assert first.question == prompt_for("The sky", "use green")
    assert len({request.seed for request in later}) == len(later) == 4, "equal requests are made once, others apart"
    assert {request.instructions for request in model.asked} == {""}


def test_an_episode_depends_on_nothing_but_itself(model: Writer, metric: SentenceMetric) -> None:
    hidden = prompt_for("red stars", "dark rain")
    tasks = [task(i, goal="", goal_prompt=hidden, goal_seed=i, initial_seed=i, original="red stars") for i in range(3)]

    def play(rows: list[int]) -> list[tuple[str, list[str], list[float]]]:
        dynamics = HeadlineDynamics(model, metric, attempts=3)
        dynamics.reset([tasks[row] for row in rows], [10 + row for row in rows])
        for words in ("briefly", "", "more vividly"):
            dynamics.rewrite([words] * len(rows))
        return list(zip(dynamics.goals, dynamics.texts, dynamics.similarities, strict=True))

    together = play([0, 1, 2])
    assert play([2, 0]) == [together[2], together[0]]
    assert len({goal for goal, *_ in together}) == 3
    for _, texts, similarities in together:
        assert len(set(texts)) == 3
        assert len(set(similarities)) > 1


def test_the_rule_is_kept_and_nothing_played_where_it_isnt() -> None:
    model = Scripted(written)
    dynamics = HeadlineDynamics(model, Colours())
    dynamics.reset([task(), task(1)], [1, 2])
    with pytest.raises(ForbiddenWordsError, match="doesn't have: BLUE;"):
        dynamics.rewrite(["use green", "use BLUE!"])
    assert (model.asked, dynamics.texts) == ([], [[], []])


def test_what_cant_be_played_is_an_error() -> None:
    dynamics = HeadlineDynamics(Scripted(written), Colours(), attempts=2)
    with pytest.raises(ValueError, match="0 episodes need as many instructions, got 1"):
        dynamics.rewrite(["use green"])
    with pytest.raises(ValueError, match="1 episodes need as many seeds, got 0"):
        dynamics.reset([task()], [])
    dynamics.reset([task()], [1])
    with pytest.raises(ValueError, match="1 episodes need as many instructions, got 2"):
        dynamics.rewrite(["use green"] * 2)
    for _ in range(2):
        dynamics.rewrite(["use green"])
    with pytest.raises(RuntimeError, match="over after 2 attempts: call reset"):
        dynamics.rewrite(["use green"])
    with pytest.raises(WriterError, match=r"script wrote an empty goal for tests\[3\] with goal seed -1: give another"):
        HeadlineDynamics(Scripted(lambda _: " \n"), Colours()).reset([task(3, goal="", goal_prompt="x")], [1])
