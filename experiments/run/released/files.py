"""The released files: which there are, what they must hold, and what is left out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from steer_env.registry import Registry

REPOSITORY = "https://github.com/SarahBentley/Steerability"


class StudyError(ValueError):
    """A released file that isn't what it should be."""


@dataclass(frozen=True)
class Source:
    """One CSV file of the release. Names of columns are parted by spaces.

    Args:
        columns: that must be there; by their names, they hold flags, numbers of :data:`_RANGES`, or text.
        session: the columns that name one session and attempt, of which a second row is a duplicate.
        optional: whether the tables do without it, saying so.
        path: where it lies in the user's folder; by default among the images' files, by its own name.
        also: another name there that the authors have used.
    """

    columns: str
    session: str = ""
    optional: bool = False
    path: str = ""
    also: str = ""


SESSION = ("steering_user_id", "goal_image")
_SIMILARITIES = ("dreamsim", "clip_similarity", "score", "user_score")
_SUMMARY = [
    f"{name}_{kind}" for name in ("last_over_first", "first_matches_ref", "last_matches_ref") for kind in ("avg", "sem")
]
_RANGES = {"attempt": (1, 5), "rating": (1, 4), **dict.fromkeys((*_SIMILARITIES, *_SUMMARY), (-1, 1))}
_FLAGS = ("last_chosen", "ref_chosen")
_IMAGES, _LLMS = "image_generation/data", "LLMs/data"
_GOAL = " ".join(SESSION)
_TEXT = f"{_GOAL} model reference_prompt prompt attempt dreamsim"
_BLIND = "goal_url steering_user_id image_url model original_prompt llm_prompt score user_score"
_JUDGED = f"{_GOAL} user_id"
_LLM = "steering_user_id goal_headline model"
_RATED = "target_headline steering_user_id model user_id"
_LLM_TEXT = "secret_prompt original_headline generated_headline user_prompt"
SOURCES: Mapping[str, Source] = Registry(
    "study file",
    {
        "steering": Source(f"{_TEXT} clip_similarity", f"{_GOAL} attempt", also="steering_all_seeds"),
        "steering_1_seed": Source(_TEXT, f"{_GOAL} attempt"),
        "steering_2_seeds": Source(_TEXT, f"{_GOAL} attempt", optional=True),
        "steering_3_seeds": Source(_TEXT, f"{_GOAL} attempt"),
        "choosing_seed": Source(_TEXT, f"{_GOAL} attempt", optional=True),
        **{f"blind_steering_{k}": Source(_BLIND, "goal_url steering_user_id image_url") for k in (4, 7, 10, 20)},
        "img_steering": Source("all_attempts steering_user_id", "steering_user_id", optional=True),
        "img_steering_rl": Source("all_attempts steering_user_id", "steering_user_id"),
        "img_steering_rl_tiles": Source("all_attempts steering_user_id", "steering_user_id"),
        "improvement": Source(f"{_JUDGED} model last_chosen", _JUDGED),
        "pom1": Source(f"{_JUDGED} model ref_chosen", _JUDGED),
        "pom5": Source(f"{_JUDGED} model ref_chosen", _JUDGED),
        "sat_rating_4": Source(f"{_JUDGED} model attempt rating", f"{_GOAL} attempt user_id"),
        "summary_metrics": Source(" ".join(["model", *_SUMMARY]), optional=True),
        "llm_steering": Source(f"{_LLM} {_LLM_TEXT} attempt", f"{_LLM} attempt", path=f"{_LLMS}/steering_llms.csv"),
        "llm_ratings": Source(f"{_RATED} attempt rating", f"{_RATED} attempt", path=f"{_LLMS}/sat_ratings.csv"),
        "llm_improvement": Source(f"{_RATED} last_chosen", _RATED, path=f"{_LLMS}/improvement.csv"),
    },
)
"""Every file read, by the name that the tables use. Optional ones are in the repository, and their tables say so
where they are missing."""


@dataclass(frozen=True)
class Study:
    """What was read.

    Args:
        files: by name, one DataFrame each; the optional ones that the folder lacks aren't in it.
        skipped: columns file, reason, rows; all that was left out, counted.
    """

    files: Mapping[str, pd.DataFrame]
    skipped: pd.DataFrame


def load_study(folder: Path) -> Study:
    """Read the release from a folder laid out as its repository is, checking every file before returning any.

    Raises:
        FileNotFoundError: a file that isn't optional is missing.
        StudyError: a file lacks a column, or a column holds what it shouldn't.
    """
    frames, skipped = {}, []
    for name, path in _paths(folder, list(SOURCES)).items():
        frames[name], counts = _cleaned(_checked(path, SOURCES[name]), SOURCES[name])
        skipped += [(path.name, reason, rows) for reason, rows in counts.items() if rows]
    return Study(frames, pd.DataFrame(skipped, columns=["file", "reason", "rows"]))


def load_source(folder: Path, name: str) -> pd.DataFrame:
    """Read one file of the release, of that name in :data:`SOURCES`; errors as in :func:`load_study`."""
    return _cleaned(_checked(_paths(folder, [name])[name], SOURCES[name]), SOURCES[name])[0]


def _paths(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Where the folder has the files; optional ones that it lacks are left out."""
    paths, missing = {}, []
    for name in names:
        source = SOURCES[name]
        places = [folder / (source.path or f"{_IMAGES}/{name}.csv")]
        places += [folder / f"{_IMAGES}/{source.also}.csv"] if source.also else []
        if there := [path for path in places if path.is_file()]:
            paths[name] = there[0]
        elif not source.optional:
            missing.append(str(places[0].relative_to(folder)))
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: download {REPOSITORY} and give its folder")
    return paths


def _checked(path: Path, source: Source) -> pd.DataFrame:
    columns = source.columns.split()
    text = [name for name in columns if name not in _RANGES and name not in _FLAGS]
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(text, str))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is no readable CSV file: {error}") from error
    if absent := [name for name in columns if name not in frame]:
        raise StudyError(f"{path} lacks the column {', '.join(absent)}; it has: {', '.join(frame.columns)}")
    if frame.empty:
        raise StudyError(f"{path} has no rows: download it again")
    for name in columns:
        values = frame[name]
        if name not in _SIMILARITIES:
            _refuse(path, name, values, values.isna(), "a value")
        if name in _RANGES:
            low, high = _RANGES[name]
            frame[name] = numbers = pd.to_numeric(values, errors="coerce")
            wrong = values.notna() & ~numbers.between(low, high)
            _refuse(path, name, values, wrong, f"a number from {low} to {high}")
        elif name in _FLAGS:
            # As text, since pandas reads a column of flags with a stray value in it as text.
            flags = values.astype(str).str.lower()
            _refuse(path, name, values, ~flags.isin(["true", "false"]), "True or False")
            frame[name] = (flags == "true").astype(float)
    return frame


def _refuse(path: Path, column: str, values: pd.Series, wrong: pd.Series, allowed: str) -> None:
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise StudyError(
            f"{path}, row {row + 1}, column {column}: '{values.iloc[row]}' isn't {allowed}; "
            f"{int(wrong.sum())} such rows: download the file again"
        )


def _cleaned(frame: pd.DataFrame, source: Source) -> tuple[pd.DataFrame, dict[str, int]]:
    """Without calibration pairs, second rows of an attempt, and sessions with a missing similarity; each counted."""
    counts = {}
    if "duplicate" in frame:
        calibration = frame["duplicate"].astype(bool)
        counts["calibration pair (goal image beside itself, D)"] = int(calibration.sum())
        frame = frame[~calibration]
    session = source.session.split()
    if session:
        again = frame.duplicated(session)
        counts["second row of the same attempt or judgement"] = int(again.sum())
        frame = frame[~again]
    if similarities := [name for name in source.columns.split() if name in _SIMILARITIES]:
        lacks = frame[similarities].isna().any(axis=1)
        incomplete = lacks.groupby([frame[key] for key in session[:2]]).transform("any")
        counts["session with a missing similarity"] = int(incomplete.sum())
        frame = frame[~incomplete]
    return frame.reset_index(drop=True), counts
