from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.run.released import sessions
from experiments.run.released.files import StudyError, load_study
from experiments.run.released.headlines import headline_traces
from experiments.run.released.headlines import sessions_of as sessions_in
from experiments.run.released.sessions import blind_traces, image_rounds, image_traces, study_traces, text_traces
from steer_env.evaluation.statistics import paired_difference, stay_rates
from steer_env.traces import read_traces, traces_to_frame, write_traces
from tests.experiments.run.released.small_release import (
    LLM_MODELS,
    MODELS,
    blind,
    headline_attempts,
    image_session,
    image_sessions,
    text_sessions,
)


def sessions_of(text: str) -> pd.DataFrame:
    return pd.DataFrame({"steering_user_id": ["p"], "all_attempts": [text]})


def test_a_text_session_is_a_trace() -> None:
    frame = text_sessions(["flux-dev"], seeds=True).assign(clip_similarity=0.5)
    traces = text_traces(frame.sample(frac=1, random_state=0), "study-text")
    assert len(traces) == 4
    trace = next(trace for trace in traces if trace.human == "person-flux-dev-1")
    own = frame[(frame["steering_user_id"] == "flux-dev-1") & frame["dreamsim"].isin(trace.similarities)]
    assert list(trace.similarities) == own["dreamsim"].tolist(), "in the order of the attempts, whatever the file's"
    assert list(trace.prompts) == [f"star {attempt}" for attempt in range(1, 6)]
    assert (trace.prompt, trace.goal_prompt, trace.generator) == ("star 1", "a red star", "flux-dev")
    assert (trace.mechanism, trace.policy, trace.metric) == ("text", "person", "dreamsim")
    assert trace.judged == {"clip": [0.5] * 5}
    assert (trace.goal_seed, trace.initial_seed, trace.episode_seed) == (7, 8, -1)


def test_seeds_that_are_not_known_are_minus_one() -> None:
    for trace in text_traces(text_sessions(["flux-dev"]), "study-text"):
        assert (trace.goal_seed, trace.initial_seed, trace.episode_seed, trace.training_seed) == (-1, -1, -1, -1)


def test_a_session_without_its_second_attempt_is_an_error() -> None:
    frame = text_sessions(["flux-dev"]).drop(index=1)
    with pytest.raises(StudyError, match=r"person flux-dev-0 at goal flux-dev-0-0\.png has attempts \[1, 3, 4, 5\]"):
        text_traces(frame, "study-text")


def test_blind_runs_play_the_same_tasks_as_people() -> None:
    steering = text_sessions(MODELS)
    people, blindly = text_traces(steering, "study-text"), blind_traces(blind(steering, 4), steering, 4)
    tasks = {trace.task_index: trace for trace in people}
    assert len(blindly) == 4
    for trace in blindly:
        assert trace.similarities[0] == tasks[trace.task_index].similarities[0]
        assert trace.human == tasks[trace.task_index].human
        assert len(trace.prompts) == len(trace.similarities) == 5
    paired = [tasks[trace.task_index] for trace in blindly]
    assert np.isfinite(paired_difference(traces_to_frame(paired + blindly), "person", "blind 4").error)


def test_a_blind_run_from_an_unknown_session_is_an_error() -> None:
    steering = text_sessions(MODELS)
    with pytest.raises(StudyError, match=r"blind_steering_4\.csv: steering\.csv has no session of person dall-e-2-0"):
        blind_traces(blind(steering, 4), steering[steering["model"] != MODELS[0]], 4)


def test_an_image_session_is_a_trace_of_choices_and_scales() -> None:
    traces = image_traces(image_rounds(image_sessions(), "file"), "study-image", "published")
    assert [list(trace.choices) for trace in traces] == [[0, 1, 2, 0], [1, 0, 0, 0], [2, 2, 2, 2], [2, 2, 2, 2]]
    assert traces[0].scales == [0.1, 0.2, 0.3, 0.4]
    assert (traces[0].prompt, traces[0].goal_prompt, traces[0].human) == ("squares", "tiles", "person-p")
    assert np.isnan(traces[0].similarities).all(), "the release has none"
    assert len(traces[0].similarities) == 5
    assert stay_rates(traces_to_frame(traces)).loc["published"].tolist() == [0.25, 0.25, 0.25, 0.5]


def test_a_whole_headline_session_is_a_trace_of_prompts_and_texts() -> None:
    frame = headline_attempts()
    sessions = sessions_in(frame.sample(frac=1, random_state=0).sort_values("goal_headline", kind="stable"))
    assert len(sessions) == 19, "one lacks its first attempt"
    traces = headline_traces(sessions_in(frame))
    trace, last = traces[0], traces[-1]
    assert (trace.suite, trace.task_index, last.task_index) == ("study-headlines", 0, 18)
    assert (trace.human, trace.generator) == (f"person-{LLM_MODELS[0]}-0", LLM_MODELS[0])
    assert trace.texts == [f"Dark Rain {attempt}" for attempt in range(1, 6)]
    assert trace.goal_text == f"Gloom Befalls the Lord {LLM_MODELS[0]}-0-0.png"
    assert [prompt[-15:] for prompt in trace.prompts] == [f"darker, number {attempt}"[-15:] for attempt in range(1, 6)]
    assert np.isnan(trace.similarities).all(), "the release has none"
    assert sessions[0].instructions[2] == "darker, number 3"


def test_stayed_before_is_of_the_round_before() -> None:
    rounds = image_rounds(sessions_of(repr([image_session([0, 1, 0, 0])])), "file")
    assert rounds["stayed_before"].tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", r"file, row 1: all_attempts isn't a Python literal"),
        ("__import__('os').getcwd()", "isn't a Python literal"),
        ("{}", r"must be a list of sessions, got '\{\}'"),
        ("[]", "must be a list of sessions"),
        ("[{'goal_prompt': 'a'}]", "a session lacks 'user_prompt'"),
        ("[3]", "or holds what it shouldn't"),
        (repr([image_session([])]), "a session has no rounds"),
        (repr([image_session([0, 3])]), r"round 2: mixture scale 0\.2 must be .* selected_index 3 one of 3 images"),
        (repr([image_session([0] * 11)]), r"round 11: mixture scale 1\.1 must be from 0 to 1"),
    ],
)
def test_a_malformed_literal_is_an_error_and_is_never_run(text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        image_rounds(sessions_of(text), "file")


def test_a_long_literal_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LITERAL", 20)
    with pytest.raises(StudyError, match=r"all_attempts has 21 characters, at most 20 are read"):
        image_rounds(sessions_of("[" + " " * 19 + "]"), "file")


def test_all_sessions_are_written_and_read_again(release: Path, tmp_path: Path) -> None:
    traces = study_traces(load_study(release))
    assert len(traces) == 40 + 4 + 4 + 4 * 4 + 4 + 4 + 19
    write_traces(traces, tmp_path / "traces.parquet")
    for before, after in zip(traces, read_traces(tmp_path / "traces.parquet"), strict=True):
        assert np.array_equal(after.similarities, before.similarities, equal_nan=True)
        assert replace(after, similarities=[]) == replace(before, similarities=[])


def test_only_blind_runs_share_tasks_with_others(release: Path) -> None:
    """Sessions of different files under one suite would pair people who had different goals."""
    image_sessions().to_csv(release / "image_generation/data/img_steering.csv", index=False)
    traces = [trace for trace in study_traces(load_study(release)) if not trace.policy.startswith("blind")]
    assert len({(trace.suite, trace.task_index) for trace in traces}) == len(traces) == 40 + 4 + 4 + 4 + 4 + 4 + 19
