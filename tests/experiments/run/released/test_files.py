from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from experiments.run.released.files import StudyError, load_study
from tests.experiments.run.released.small_release import IMAGES, text_sessions


def edit(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Read a CSV file, change it, and write it again."""
    change(pd.read_csv(path)).to_csv(path, index=False)


def put(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


def test_a_whole_release_is_read_and_nothing_is_left_out(release: Path) -> None:
    study = load_study(release)
    assert len(study.files["steering"]) == 10 * 2 * 2 * 5
    assert study.skipped.empty
    assert "choosing_seed" not in study.files, "optional, and not there"


def test_optional_files_and_the_authors_other_name_are_read(release: Path) -> None:
    text_sessions(["flux-dev"], seeds=True).to_csv(release / IMAGES / "choosing_seed.csv", index=False)
    (release / IMAGES / "steering.csv").rename(release / IMAGES / "steering_all_seeds.csv")
    study = load_study(release)
    assert len(study.files["choosing_seed"]) == 20
    assert len(study.files["steering"]) == 200


def test_every_missing_file_is_named_at_once(release: Path) -> None:
    (release / IMAGES / "pom1.csv").unlink()
    (release / "LLMs/data/improvement.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"data/pom1\.csv, LLMs/data/improvement\.csv: download https://github"):
        load_study(release)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("steering", lambda frame: frame.drop(columns="dreamsim"), r"steering\.csv lacks the column dreamsim; it has"),
        ("steering", lambda frame: frame.iloc[:0], "has no rows"),
        ("steering", put("dreamsim", 3, "high"), "row 4, column dreamsim: 'high' isn't a number from -1 to 1; 1 such"),
        ("steering", put("dreamsim", 3, 1.5), "row 4, column dreamsim: '1.5' isn't a number from -1 to 1"),
        ("steering", put("attempt", 0, 6), "row 1, column attempt: '6' isn't a number from 1 to 5"),
        ("steering", put("prompt", 2, None), "row 3, column prompt: 'nan' isn't a value"),
        ("sat_rating_4", put("rating", 1, 5), "row 2, column rating: '5' isn't a number from 1 to 4"),
        ("pom5", put("ref_chosen", 1, "maybe"), "row 2, column ref_chosen: 'maybe' isn't True or False"),
        ("improvement", put("last_chosen", 0, None), "row 1, column last_chosen: 'nan' isn't a value"),
    ],
)
def test_a_damaged_file_is_an_error_that_says_where(
    release: Path, file: str, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    edit(release / IMAGES / f"{file}.csv", change)
    with pytest.raises(StudyError, match=message):
        load_study(release)


@pytest.mark.parametrize("content", [b"", b'a,b\n1,2,3\n"'])
def test_what_is_no_table_is_an_error(release: Path, content: bytes) -> None:
    (release / IMAGES / "pom1.csv").write_bytes(content)
    with pytest.raises(StudyError, match=r"pom1\.csv is no readable CSV file"):
        load_study(release)


def test_calibration_pairs_are_left_out_and_counted(release: Path) -> None:
    """Appendix D: annotators and users saw the goal image beside itself; its similarity of 1 is nobody's steering."""
    whole = load_study(release).files["steering"]

    def add(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([frame, frame.head(3).assign(duplicate=True, dreamsim=1.0)])

    edit(release / IMAGES / "steering.csv", add)
    study = load_study(release)
    pd.testing.assert_frame_equal(study.files["steering"], whole)
    [skipped] = study.skipped.itertuples(index=False, name=None)
    assert skipped == ("steering.csv", "calibration pair (goal image beside itself, D)", 3)


def test_a_second_row_of_an_attempt_is_left_out_and_counted(release: Path) -> None:
    edit(release / IMAGES / "steering.csv", lambda frame: pd.concat([frame, frame.head(2)]))
    study = load_study(release)
    assert len(study.files["steering"]) == 200
    assert study.skipped["rows"].tolist() == [2]


def test_a_session_with_a_missing_similarity_is_left_out_whole(release: Path) -> None:
    edit(release / IMAGES / "steering.csv", put("dreamsim", 7, None))
    study = load_study(release)
    assert len(study.files["steering"]) == 195
    assert study.skipped.values.tolist() == [["steering.csv", "session with a missing similarity", 5]]
