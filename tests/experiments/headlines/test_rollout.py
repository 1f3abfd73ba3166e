"""Users, the rule, and traces, with models whose every answer is known."""

from collections.abc import Callable

import pytest

from experiments.headlines.report import rule_section
from experiments.headlines.rollout import FIRST, RuleCount, play
from experiments.headlines.users import USERS, Episode
from experiments.run.headlines.dynamics import HeadlineDynamics
from steer_env.humans.writers import Request
from steer_env.traces import SteeringTrace
from tests.experiments.run.headlines.scripted import Colours, Scripted, instructions_of, task

EPISODE = Episode("The sky", "Red red blue", ("use green",), ("Green sky",), (0.25,), seed=3)


def painting(request: Request) -> str:
    """A model that paints as instructed, with 'crimson' for red."""
    return instructions_of(request).replace("crimson", "red").replace("azure", "blue")


def played(
    answer: Callable[[Request], str], kind: str = "goal", instructions: str = "use green", tries: int = 2
) -> tuple[SteeringTrace, list[RuleCount], Scripted]:
    writer = Scripted(answer, "writer")
    dynamics = HeadlineDynamics(Scripted(painting), Colours(), attempts=3)
    (trace,), counts = play(dynamics, [USERS[kind](writer)], [task(instructions=instructions)], [1], tries)
    return trace, counts, writer


def test_an_episode_worked_out_by_hand() -> None:
    answers = iter(['"crimson azure"', "crimson crimson azure"])
    trace, counts, _ = played(lambda _: next(answers))
    assert trace.texts == ["use green", "red blue", "red red blue"]
    assert list(trace.similarities) == pytest.approx([0, 3 / 10**0.5, 1])
    assert trace.improvement == pytest.approx(1)
    assert trace.judged == {"word-overlap": [0, 1, 1]}
    assert (trace.policy, trace.human, trace.generator, trace.metric) == (
        "goal by writer",
        "writer",
        "script",
        "colours",
    )
    assert (trace.mechanism, trace.scales, trace.choices, trace.goal_text) == ("text", [], [], "Red red blue")
    assert trace.prompts[1].endswith("news headline: 'The sky'. Only return the rewritten headline. Here are my "
                                     "instructions: crimson azure")  # fmt: skip
    assert trace.prompt == trace.prompts[0]
    assert {"steer_env", "transformers"} <= set(trace.versions)
    assert counts == [RuleCount(FIRST, 0, 1, 0, []), RuleCount("goal by writer", 0, 2, 0, [])]


def test_who_sees_the_goal_is_asked_again_and_told_the_words() -> None:
    def answer(request: Request) -> str:
        return "crimson" if "Forbidden words in it: red, Blue." in request.question else "red, Blue"

    trace, counts, writer = played(answer)
    assert trace.texts == ["use green", "red", "red"]
    assert counts[1] == RuleCount("goal by writer", 0, 2, 2, [])
    assert len({request.seed for request in writer.asked}) == 4
    assert "Refused: red, Blue" in writer.asked[1].question


def test_who_doesnt_learn_has_the_words_left_out() -> None:
    trace, counts, writer = played(lambda _: "use red with green")
    assert trace.texts == ["use green", "use with green", "use with green"]
    assert counts[1] == RuleCount("goal by writer", 0, 2, 4, ["red", "red"])
    assert len(writer.asked) == 2 * 3
    nothing_left, counts, writer = played(lambda _: "red blue", tries=0)
    assert nothing_left.texts == ["use green"] * 3, "the last instructions again"
    assert counts[1] == RuleCount("goal by writer", 0, 2, 0, ["red", "blue"] * 2, repeated=2)
    assert len(writer.asked) == 2


def test_first_instructions_keep_to_the_rule_too() -> None:
    trace, counts, _ = played(lambda _: "crimson", instructions="red and green")
    assert trace.texts[0] == "and green"
    assert counts[0] == RuleCount(FIRST, 0, 1, 0, ["red"])
    trace, *_ = played(lambda _: "crimson", instructions="Red!")
    assert trace.prompt.endswith("Here are my instructions: ")


@pytest.mark.parametrize("kind", ["feedback", "blind"])
def test_who_doesnt_see_the_goal_is_never_told_its_words(kind: str) -> None:
    trace, counts, writer = played(lambda _: "use red with green", kind)
    assert trace.texts == ["use green", "use with green", "use with green"]
    assert counts[1] == RuleCount(f"{kind} by writer", 0, 2, 0, ["red", "red"])
    for request in writer.asked:
        assert not {"red", "blue", "forbidden"} & set(f"{request.instructions} {request.question}".lower().split())


def test_what_each_user_is_shown() -> None:
    shown = {}
    for kind in USERS:
        writer = Scripted(lambda _: "more")
        assert USERS[kind](writer).write([EPISODE]) == ["more"]
        shown[kind] = writer.asked[0].question
    assert shown["blind"] == "use green"
    assert shown["feedback"] == "Original headline: The sky\nTried: use green\nHeadline: Green sky\nSimilarity: 0.250"
    assert shown["goal"] == (
        "Original headline: The sky\nGoal headline: Red red blue\nTried: use green\nHeadline: Green sky"
    )


def test_an_answer_without_instructions_plays_the_last_again() -> None:
    trace, counts, _ = played(lambda _: ' ""', "blind")
    assert trace.texts == ["use green"] * 3
    assert counts[1] == RuleCount("blind by writer", 0, 2, 0, [], repeated=2)


def test_users_and_the_model_they_steer_draw_apart() -> None:
    """One model may be both, and would answer equal seeds alike."""
    both = Scripted(lambda request: f"word {request.seed}")
    play(HeadlineDynamics(both, Colours()), [USERS["goal"](both)], [task()], [1])
    assert len({request.seed for request in both.asked}) == len(both.asked) == 5 + 4


def test_users_share_first_texts_and_seeds_and_dont_disturb_each_other() -> None:
    def writer() -> Scripted:
        return Scripted(lambda request: f"crimson {request.seed % 7}", "w")

    tasks, seeds = [task(i, initial_seed=i) for i in range(3)], [4, 5, 6]

    def numbered(request: Request) -> str:
        return f"{painting(request)} {request.seed}"

    dynamics = HeadlineDynamics(Scripted(numbered), Colours(), attempts=3)
    both, counts = play(dynamics, [USERS["goal"](writer()), USERS["blind"](writer())], tasks, seeds)
    alone, _ = play(dynamics, [USERS["blind"](writer())], tasks[1:], seeds[1:])
    assert both[4:] == alone
    assert [trace.policy for trace in both] == ["goal by w"] * 3 + ["blind by w"] * 3
    for goal, blind in zip(both[:3], both[3:], strict=True):
        assert goal.texts[0] == blind.texts[0]
        assert [text.split()[-1] for text in goal.texts] == [text.split()[-1] for text in blind.texts]
    assert [count.user for count in counts] == [FIRST] * 3 + ["goal by w"] * 3 + ["blind by w"] * 3


def test_the_counts_are_added_up_by_user() -> None:
    counts = [RuleCount(FIRST, 0, 1, 0, []), RuleCount("a", 0, 4, 3, ["x", "y"]), RuleCount("a", 1, 4, 1, [], 3)]
    (table,) = rule_section(counts).tables
    assert table.values.tolist() == [[FIRST, 1, 0, 0, "0 of 1", 0], ["a", 8, 4, 2, "1 of 2", 3]]
