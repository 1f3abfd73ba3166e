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
    """One CSV file of the release.

    Args:
        paths: where it lies in the user's folder; its first name, then others that the authors have used.
        text, numbers, flags: the columns that must be there, by what they hold. Numbers are similarities, ratings
            or attempts; all are between ``low`` and ``high``.
        session: columns that name one session and attempt, of which a second row is a duplicate.
        optional: whether the tables do without it, saying so.
    """

    paths: tuple[str, ...]
    text: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    optional: bool = False


SESSION = ("steering_user_id", "goal_image")
_TEXT = ("goal_image", "steering_user_id", "model")
_PROMPTED = (*_TEXT, "reference_prompt", "prompt")
_ATTEMPT = (*SESSION, "attempt")


def _image(*names: str) -> tuple[str, ...]:
    return tuple(f"image_generation/data/{name}.csv" for name in names)


def _text_sessions(*names: str, clip: bool = False, optional: bool = False) -> Source:
    numbers = ("attempt", "dreamsim", *(["clip_similarity"] if clip else []))
    return Source(_image(*names), _PROMPTED, numbers, session=_ATTEMPT, optional=optional)


def _image_sessions(name: str, optional: bool = False) -> Source:
    return Source(_image(name), ("all_attempts", "steering_user_id"), session=("steering_user_id",), optional=optional)


def _blind(rewrites: int) -> Source:
    text = ("goal_url", "steering_user_id", "model", "original_prompt", "llm_prompt", "image_url")
    session = ("goal_url", "steering_user_id", "image_url")
    return Source(_image(f"blind_steering_{rewrites}"), text, ("score", "user_score"), session=session)


def _judgements(name: str, flag: str) -> Source:
    return Source(_image(name), (*_TEXT, "user_id"), flags=(flag,), session=(*SESSION, "user_id"))


_SESSION = ("steering_user_id", "goal_headline", "model")
_LLM = ("target_headline", "steering_user_id", "model", "user_id")
SOURCES: Mapping[str, Source] = Registry(
    "study file",
    {
        "steering": _text_sessions("steering", "steering_all_seeds", clip=True),
        "steering_1_seed": _text_sessions("steering_1_seed"),
        "steering_2_seeds": _text_sessions("steering_2_seeds", optional=True),
        "steering_3_seeds": _text_sessions("steering_3_seeds"),
        "choosing_seed": _text_sessions("choosing_seed", optional=True),
        **{f"blind_steering_{k}": _blind(k) for k in (4, 7, 10, 20)},
        "img_steering": _image_sessions("img_steering", optional=True),
        "img_steering_rl": _image_sessions("img_steering_rl"),
        "img_steering_rl_tiles": _image_sessions("img_steering_rl_tiles"),
        "improvement": _judgements("improvement", "last_chosen"),
        "pom1": _judgements("pom1", "ref_chosen"),
        "pom5": _judgements("pom5", "ref_chosen"),
        "sat_rating_4": Source(
            _image("sat_rating_4"), (*_TEXT, "user_id"), ("attempt", "rating"), session=(*_ATTEMPT, "user_id")
        ),
        "summary_metrics": Source(
            _image("summary_metrics"),
            ("model",),
            tuple(
                f"{m}_{n}" for m in ("last_over_first", "first_matches_ref", "last_matches_ref") for n in ("avg", "sem")
            ),
            optional=True,
        ),
        "llm_steering": Source(
            ("LLMs/data/steering_llms.csv",),
            (*_SESSION, "secret_prompt", "original_headline", "generated_headline", "user_prompt"),
            ("attempt",),
            session=(*_SESSION, "attempt"),
        ),
        "llm_ratings": Source(("LLMs/data/sat_ratings.csv",), _LLM, ("attempt", "rating"), session=(*_LLM, "attempt")),
        "llm_improvement": Source(("LLMs/data/improvement.csv",), _LLM, flags=("last_chosen",), session=_LLM),
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
    found, frames, skipped = _found(folder, list(SOURCES)), {}, []
    for name, paths in found.items():
        if paths:
            frame = _checked(paths[0], SOURCES[name])
            frames[name], left_out = _cleaned(frame, SOURCES[name])
            skipped += [(paths[0].name, reason, rows) for reason, rows in left_out.items() if rows]
    return Study(frames, pd.DataFrame(skipped, columns=["file", "reason", "rows"]))


def load_source(folder: Path, name: str) -> pd.DataFrame:
    """Read one file of the release, of that name in :data:`SOURCES`; errors as in :func:`load_study`."""
    (path, *_) = _found(folder, [name])[name]
    return _cleaned(_checked(path, SOURCES[name]), SOURCES[name])[0]


def _found(folder: Path, names: Sequence[str]) -> dict[str, list[Path]]:
    """By name, the paths at which the folder has the file."""
    found = {name: [folder / path for path in SOURCES[name].paths if (folder / path).is_file()] for name in names}
    missing = [SOURCES[name].paths[0] for name in names if not found[name] and not SOURCES[name].optional]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: download {REPOSITORY} and give its folder")
    return found


def _checked(path: Path, source: Source) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(source.text, str))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is no readable CSV file: {error}") from error
    wanted = (*source.text, *source.numbers, *source.flags)
    absent = [name for name in wanted if name not in frame]
    if absent:
        raise StudyError(f"{path} lacks the column {', '.join(absent)}; it has: {', '.join(frame.columns)}")
    if frame.empty:
        raise StudyError(f"{path} has no rows: download it again")
    for name in (*source.text, *source.flags, *(n for n in source.numbers if n not in _SIMILARITIES)):
        _refuse(path, name, frame[name], frame[name].isna(), "a value")
    for name in source.numbers:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        low, high = _RANGES.get(name, (-1.0, 1.0))
        wrong = (numbers.isna() & frame[name].notna()) | (numbers < low) | (numbers > high)
        _refuse(path, name, frame[name], wrong, f"a number from {low:g} to {high:g}")
        frame[name] = numbers
    for name in source.flags:
        # As text, since pandas reads a column of flags with a stray value in it as text.
        flags = frame[name].astype(str).str.lower()
        _refuse(path, name, frame[name], ~flags.isin(["true", "false"]), "True or False")
        frame[name] = (flags == "true").astype(float)
    return frame


_SIMILARITIES = ("dreamsim", "clip_similarity", "score", "user_score")
_RANGES = {"attempt": (1, 5), "rating": (1, 4)}


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
    if source.session:
        again = frame.duplicated(list(source.session))
        counts["second row of the same attempt or judgement"] = int(again.sum())
        frame = frame[~again]
    similarities = [name for name in source.numbers if name in _SIMILARITIES]
    if similarities:
        keys = list(source.session[:2])
        incomplete = frame[similarities].isna().any(axis=1).groupby([frame[key] for key in keys]).transform("any")
        counts["session with a missing similarity"] = int(incomplete.sum())
        frame = frame[~incomplete]
    return frame.reset_index(drop=True), counts
