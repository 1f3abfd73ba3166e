"""A submission becomes a verified row by two commands; a gamed one doesn't."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.board.__main__ import main
from experiments.board.entries import TRACKS, Card, Entry, identity, new_entries, read_submission
from experiments.board.pages import build, read_reports, rows, scale_of
from experiments.board.verifying import Arena, fresh_tasks, verify
from steer_env.evaluation.suites import evaluate
from steer_env.files import seal
from steer_env.policies import TablePolicy
from steer_env.policies.names import load_policy
from steer_env.policies.networks import NetworkPolicy
from steer_env.tasks import SUITES, load_suite
from tests.steer_env.policies.test_networks import noisy
from tests.test_imports import ROOT

pytestmark = pytest.mark.usefixtures("blots")

CARD = {
    "authors": ["A. Person"],
    "method": "Thompson sampling on a laptop.",
    "episodes": 4000,
    "passes": None,
    "licence": "Apache-2.0",
    "link": "https://example.org/paper?id=1",
}
SCALES = np.array([[0.9, 0.9], [0.8, 0.6], [0.5, 1.0], [0.3, 0.4]])


def submit(board: Path, name: str = "mine", scales: np.ndarray = SCALES, track: str = "mixture", **card: Any) -> Path:
    folder = board / "submissions" / track / name
    TablePolicy(name, scales, 3).save(folder)
    (folder / "card.json").write_text(json.dumps(CARD | card))
    return folder


def report(track: str, name: str, gain: float, error: float, card: Any = None, digit: str = "a") -> dict[str, Any]:
    numbers = {"human": "greedy", "improved": [0.9, 0.01], "gain": [gain + 0.1, error]}
    numbers |= {each: [gain, error] for each in ("over_random", "over_schedule", "over_luck", "pixel-correlation")}
    record = {
        "identity": digit * 64,
        "track": track,
        "name": name,
        "reference": card is None,
        "card": card,
        "policy": None,
        "date": "2026-11-26",
        "drawn": {"tasks": ord(digit), "noise": 2},
        "tasks": 100,
        "generator": "g",
        "metric": "m",
        "mechanism": "mixture",
        "versions": {"torch": "2"},
        "users": dict.fromkeys(("greedy", "hesitant", "noisy"), numbers),
        "private": None,
        "gains": [gain - error, gain + error],
        "images": 10.0,
        "passes": 20.0,
        "attempts": [0.5] * 5,
    }
    return record | {"seal": seal(record)}


def save(board: Path, *reports: dict[str, Any]) -> None:
    for each in reports:
        path = board / "reports" / f"{each['identity']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(each))


def test_a_new_folder_becomes_a_verified_row_by_two_commands(tmp_path: Path, command: Callable[..., None]) -> None:
    submit(tmp_path)
    places = (f"board={tmp_path}", f"pages={tmp_path}/pages")
    command(main, "verify", "tasks=4", *places)
    [found] = read_reports(tmp_path / "reports")
    assert (found["name"], found["tasks"], found["card"]["authors"]) == ("mine", 4, ["A. Person"])
    assert set(found["users"]) == {"greedy", "hesitant", "noisy"}
    assert found["users"]["noisy"]["human"] == "softmax-0.05"
    assert found["private"] is None
    assert len(found["strips"]) == 3
    command(main, "build", *places)
    index = (tmp_path / "pages/index.html").read_text()
    assert "mine</a>" in index
    assert "No private suite was played" in index
    assert "A. Person" in (tmp_path / f"pages/entries/{found['identity'][:16]}.html").read_text()
    before = (tmp_path / f"reports/{found['identity']}.json").read_bytes()
    command(main, "verify", "tasks=4", *places)
    assert (tmp_path / f"reports/{found['identity']}.json").read_bytes() == before, "played once"


def test_no_image_is_made_twice_and_none_is_another_one() -> None:
    arena = Arena("tiles-val-v1", 5, 1)
    entry = Entry("mixture", "constant", "x", load_policy("constant:0.9"))
    played = arena.play(entry)
    made = arena.studio.images
    assert made < 2 * 5 * 10, "three users of ten images each share most of them"
    assert arena.play(entry)["noisy"][0].improvement == played["noisy"][0].improvement
    assert arena.studio.images == made
    [alone] = evaluate(
        [entry.policy], 5, noise=1, suite="tiles-val-v1", human="softmax:temperature=0.05", judges=["pixel-correlation"]
    )
    for one, other in zip(alone, played["noisy"], strict=True):
        assert one.choices == other.choices
        assert one.similarities == pytest.approx(other.similarities, abs=1e-5)
        assert one.judged["pixel-correlation"] == pytest.approx(other.judged["pixel-correlation"], abs=1e-5)
        assert (one.images, one.passes) == (other.images, other.passes), "what an episode costs is counted as ever"


class TestGamed:
    @pytest.mark.parametrize(
        ("card", "message"),
        [
            ({"improvement": 0.9}, "card.json: improvement: Extra inputs are not permitted"),
            ({"authors": []}, "card.json: authors"),
            ({"episodes": "few"}, "card.json: episodes"),
            ({"episodes": True}, "card.json: episodes"),
            ({"link": "javascript:alert(1)"}, "card.json: link"),
            ({"link": "http://example.org"}, "card.json: link"),
            ({"licence": "<b>"}, "card.json: licence"),
            ({"curve": [[1, 0.1], [2, 0.2, 0.3]]}, "card.json: curve"),
        ],
    )
    def test_a_card_that_says_more_or_other_than_it_may(
        self, card: dict[str, Any], message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=message):
            read_submission(submit(tmp_path, **card))

    @pytest.mark.parametrize("name", ["published", "best known", "constant 0.99", "Publ1shed", "text oracle"])
    def test_a_built_in_policys_name(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="like a built-in one"):
            read_submission(submit(tmp_path, name))

    def test_links(self, tmp_path: Path) -> None:
        elsewhere = submit(tmp_path / "elsewhere")
        folder = submit(tmp_path)
        (folder / "card.json").unlink()
        (folder / "card.json").symlink_to(elsewhere / "card.json")
        with pytest.raises(ValueError, match=r"it holds 'card.json'.* no links"):
            read_submission(folder)
        shutil.rmtree(folder)
        folder.symlink_to(elsewhere)
        with pytest.raises(ValueError, match="it is a link"):
            read_submission(folder)

    @pytest.mark.parametrize("name", ["notes.txt", "report.json", "model.pt", ".hidden"])
    def test_other_files(self, name: str, tmp_path: Path) -> None:
        folder = submit(tmp_path)
        (folder / name).write_text("{}")
        with pytest.raises(ValueError, match="and nothing else"):
            read_submission(folder)

    def test_no_card_no_track_and_nothing_to_decide(self, tmp_path: Path) -> None:
        folder = submit(tmp_path)
        (folder / "card.json").unlink()
        with pytest.raises(FileNotFoundError, match=r"it has no card\.json"):
            read_submission(folder)
        with pytest.raises(ValueError, match="unknown track 'mixtures'"):
            read_submission(submit(tmp_path, track="mixtures"))
        with pytest.raises(ValueError, match="it decides scale, and in the track directions"):
            read_submission(submit(tmp_path, track="directions"))
        with pytest.raises(ValueError, match="takes no submissions"):
            read_submission(submit(tmp_path, track="bayesian"))

    def test_a_second_verification_of_the_same(self, tmp_path: Path) -> None:
        entry = read_submission(submit(tmp_path))
        save(tmp_path, report("mixture", "mine", 0.1, 0.01) | {"identity": entry.identity})
        assert new_entries(tmp_path, ["mixture"], False) == ([], {})
        with pytest.raises(FileExistsError, match="'mine' was verified before"):
            verify([entry], tmp_path / "reports", 4)

    @pytest.mark.parametrize("how", ["name", "seed", "hair", "unreachable"])
    def test_the_same_policy_under_another_name(self, how: str, tmp_path: Path) -> None:
        """Another draw of tasks may be luckier: what does the same has one."""
        first, other = TablePolicy("mine", SCALES, 3), SCALES.copy()
        if how == "hair":
            other[1, 1] += 0.001
        if how == "unreachable":
            other[0, 1] = 0.1
        name, seed = ("yours", 3) if how == "name" else ("mine", 4)
        assert identity("mixture", TablePolicy(name, other, seed)) == identity("mixture", first)
        submit(tmp_path, "mine")
        submit(tmp_path, "yours", other)
        entries, refused = new_entries(tmp_path, list(TRACKS), False)
        assert [entry.name for entry in entries] == ["mine"]
        assert refused == {"submissions/mixture/yours": "'mine' does the same: a policy is verified once"}

    def test_other_policies_are_others(self) -> None:
        other = SCALES.copy()
        other[1, 1] += 0.1
        assert identity("mixture", TablePolicy("mine", other)) != identity("mixture", TablePolicy("mine", SCALES))

    def test_public_tasks_are_never_played(self) -> None:
        """So that a policy that was fitted to them gains nothing."""
        drawn = [fresh_tasks(seed, 40).splitlines()[1:] for seed in (5, 6)]
        public = {task.goal_seed for name in SUITES for task in load_suite(name)[:200]}
        assert not public & {int(line.rsplit(",", 2)[1]) for lines in drawn for line in lines}
        assert not set(drawn[0]) & set(drawn[1])
        assert fresh_tasks(5, 40).splitlines()[1:] == drawn[0], "a report's seed makes its tasks again"

    def test_a_report_that_was_edited(self, tmp_path: Path) -> None:
        edited = report("mixture", "mine", 0.1, 0.01)
        edited["users"]["greedy"]["gain"] = [0.9, 0.01]
        save(tmp_path, edited)
        with pytest.raises(ValueError, match=r"json is damaged: its content isn't what its seal says"):
            read_reports(tmp_path / "reports")

    def test_a_report_of_another_version(self, tmp_path: Path) -> None:
        for lacking in ("passes", "users"):
            old = {name: value for name, value in report("mixture", "mine", 0.1, 0.01).items() if name != lacking}
            del old["seal"]
            save(tmp_path, old | {"seal": seal(old)})
            with pytest.raises(ValueError, match=f"is of another version: it lacks '{lacking}'"):
                read_reports(tmp_path / "reports")

    @pytest.mark.parametrize("bound", ["{", "[]", "{}", '{"rows": []}'])
    def test_a_bound_that_isnt_one(self, bound: str, tmp_path: Path) -> None:
        (tmp_path / "headroom.json").write_text(bound)
        with pytest.raises(ValueError, match=r"headroom\.json isn't what experiments\.headroom writes"):
            scale_of([report("mixture", "mine", 0.1, 0.01)], tmp_path / "headroom.json")

    def test_a_board_that_isnt_there(self, tmp_path: Path, command: Callable[..., None]) -> None:
        with pytest.raises(FileNotFoundError, match=r"no board in .*typo"):
            command(main, "verify", f"board={tmp_path / 'typo'}")
        submit(tmp_path)
        (tmp_path / "private.csv").write_text("goal_prompt,prompt\none red star,a star\n")
        with pytest.raises(ValueError, match=r"private\.csv must hold at least 2 tasks"):
            command(main, "verify", f"board={tmp_path}", f"private={tmp_path / 'private.csv'}")
        save(tmp_path, report("mixture", "mine", 0.1, 0.01))
        with pytest.raises(ValueError, match="pages must be a path, got ''"):
            command(main, "build", f"board={tmp_path}", "pages=")

    def test_a_network_of_another_name_and_seed_is_the_same(self) -> None:
        both = [
            NetworkPolicy(name, noisy(), "directions:dimensions=8", (), seed) for name, seed in (("a", 3), ("b", 4))
        ]
        assert len({identity("directions", policy) for policy in both}) == 1

    def test_a_refused_submission_ends_the_command_with_1(self, tmp_path: Path, command: Callable[..., None]) -> None:
        submit(tmp_path, improvement=0.9)
        with pytest.raises(SystemExit) as ended:
            command(main, "verify", f"board={tmp_path}")
        assert ended.value.code == 1
        assert not (tmp_path / "reports").exists()


class TestPages:
    def test_ranks_are_intervals(self) -> None:
        names = [("a", 0.10), ("b", 0.09), ("c", 0.02), ("d", -0.30)]
        ranked = rows([report("mixture", name, gain, 0.01, digit=name) for name, gain in reversed(names)])
        assert [(row.report["name"], row.rank) for row in ranked] == [
            ("a", "1–2"),
            ("b", "1–2"),
            ("c", "3"),
            ("d", "4"),
        ]

    def test_on_the_same_tasks_a_smaller_difference_counts(self) -> None:
        one, other = (report("mixture", name, 0.1, 0.01) for name in "ab")
        one["gains"], other["gains"] = [0.1, 0.3, 0.2, 0.5], [0.098, 0.297, 0.198, 0.497]
        assert sorted(row.rank for row in rows([other, one])) == ["1", "2"]

    def test_names_are_text(self, tmp_path: Path) -> None:
        card = CARD | {"method": "<script>alert(1)</script>"}
        save(tmp_path, report("mixture", "<b>bold</b>", 0.1, 0.01, card), report("text", "t", 0.2, 0.01, digit="b"))
        build(read_reports(tmp_path / "reports"), tmp_path / "pages", ROOT / "leaderboard/headroom.json")
        pages = [path.read_text() for path in (tmp_path / "pages").rglob("*.html")]
        assert len(pages) == 3
        assert not any("<b>bold" in page or "<script" in page for page in pages)
        links = {link for page in pages for link in re.findall(r'(?:href|src)="(https?://[^"]*)', page)}
        assert links == {"https://example.org/paper?id=1"}

    def test_whether_the_best_learned_entry_stands_apart(self, tmp_path: Path) -> None:
        for gain, verdict in ((0.1, "stands apart from"), (0.011, "doesn’t differ measurably from")):
            save(tmp_path, report("mixture", "mine", gain, 0.005, CARD), report("mixture", "s", 0.01, 0.005, digit="b"))
            build(read_reports(tmp_path / "reports"), tmp_path / "pages", ROOT / "leaderboard/headroom.json")
            page = (tmp_path / "pages/index.html").read_text()
            assert f"learned policy, mine, {verdict} the best built-in schedule, s:" in page

    def test_the_first_and_the_last_learned_policy(self, tmp_path: Path) -> None:
        for name, gain in (("a", 0.1), ("b", 0.03), ("c", 0.06)):
            save(tmp_path, report("mixture", name, gain, 0.005, CARD, digit=name))
        save(tmp_path, report("mixture", "s", 0.01, 0.005, digit="d"))
        build(read_reports(tmp_path / "reports"), tmp_path / "pages", ROOT / "leaderboard/headroom.json")
        page = (tmp_path / "pages/index.html").read_text()
        assert "the first, a, gains +0.070 more than the last, b, from +0.056 to +0.084." in page

    def test_prompts_dont_shrink_the_bars_of_choices(self, tmp_path: Path) -> None:
        bars = []
        for others in ([], [report("text", "t", -0.9, 0.01, digit="b")]):
            save(tmp_path, report("mixture", "mine", 0.1, 0.01), *others)
            build(read_reports(tmp_path / "reports"), tmp_path / "pages", ROOT / "leaderboard/headroom.json")
            bars.append(re.findall(r'<i style="[^"]*"', (tmp_path / "pages/index.html").read_text()))
        assert [len(each) for each in bars] == [1, 2]
        assert bars[0][0] == bars[1][0]

    def test_nothing_to_show(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="there are no reports yet"):
            build([], tmp_path, tmp_path)


def test_the_schema_in_the_repository_is_the_cards() -> None:
    assert json.loads((ROOT / "leaderboard/card.schema.json").read_text()) == Card.model_json_schema()
    assert Card(**CARD).episodes == 4000


def test_the_boards_own_reports_are_whole() -> None:
    reports = read_reports(ROOT / "leaderboard/reports")
    assert len({each["identity"] for each in reports}) == len(reports)
    assert {each["track"] for each in reports} <= set(TRACKS)
