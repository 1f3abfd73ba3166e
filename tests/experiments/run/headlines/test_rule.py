import os
import re
from pathlib import Path

import pytest

from experiments.run.headlines import rule
from experiments.run.headlines.rule import ForbiddenWordsError, check_instructions, forbidden_words, without
from experiments.run.released.files import load_source

STUDY = os.environ.get("STEER_ENV_STUDY", "")
ORIGINAL = "What James Gandolfini’s Son Learned Last Night"
GOAL = "Progeny of 'Sopranos' Icon: A Critical Analysis of Michael Gandolfini's Self-Made Artistic Stories, No. 2"


@pytest.mark.parametrize(
    ("instructions", "forbidden"),
    [
        ("Name the SON'S father, Gandolfini's night", []),
        ("a piece of it, with the last of his", []),
        ("make it critical", ["critical"]),
        ("CRITICAL, critical! (progeny)", ["CRITICAL", "critical", "progeny"]),
        ("one soprano, icons icon's, a story", ["soprano", "icons", "icon's", "story"]),
        ("made by herself: the self in art", ["made", "self"]),
        ("artistically criticised, in 2024", []),
        ("end in 2", ["2"]),
        ("", []),
    ],
)
def test_the_words_of_the_goal_that_the_original_lacks_are_forbidden(instructions: str, forbidden: list[str]) -> None:
    assert forbidden_words(instructions, ORIGINAL, GOAL) == forbidden
    left = without(instructions, forbidden)
    assert forbidden_words(left, ORIGINAL, GOAL) == []
    assert sorted([*re.findall(r"[\w'’]+", left), *forbidden]) == sorted(re.findall(r"[\w'’]+", instructions))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("house", "houses", True),
        ("watch", "watches", True),
        ("movie", "movies", True),
        ("lady", "ladies", True),
        ("class", "classes", True),
        ("box", "boxes", True),
        ("Trump", "trump's", True),
        ("new", "news", False),
        ("his", "hi", False),
        ("clas", "class", False),
        ("caf\u00e9", "cafe\u0301", True),
        ("defies", "defied", False),
    ],
)
def test_possessives_and_plurals_are_the_same_word(one: str, other: str, same: bool) -> None:
    for a, b in ((one, other), (other, one)):
        assert bool(forbidden_words(f"Say {a}!", "Nothing", f"It is {b}")) == same
        assert not forbidden_words(f"Say {a}!", f"An {b}", f"It is {a}") or not same


def test_the_error_names_the_words() -> None:
    check_instructions("make it darker", ORIGINAL, GOAL)
    with pytest.raises(ForbiddenWordsError, match=r"that the original doesn't have: Icon, critical; say it in other"):
        check_instructions("an Icon, more critical.", ORIGINAL, GOAL)


def test_nothing_but_punctuation_is_nothing() -> None:
    assert without("critical, icon!", ["critical", "icon"]) == ""
    assert without("Be critical, and  dark.", ["critical"]) == "Be, and dark."


@pytest.mark.skipif(not STUDY, reason="STEER_ENV_STUDY doesn't name a folder with the released study")
def test_most_released_prompts_keep_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = load_source(Path(STUDY), "llm_steering")
    instructions = [prompt.partition("Here are my instructions:")[2] for prompt in frame["user_prompt"]]
    played = list(zip(instructions, frame["original_headline"], frame["goal_headline"], strict=True))
    broken = [bool(forbidden_words(*each)) for each in played]
    assert (len(broken), sum(broken)) == (550, 43)
    assert frame[broken].groupby(["steering_user_id", "goal_headline"]).ngroups == 15
    monkeypatch.setattr(rule, "_FREE", frozenset())
    strict = [bool(forbidden_words(*each)) for each in played]
    assert sum(strict) > 320, "function words are hardly to be done without"
