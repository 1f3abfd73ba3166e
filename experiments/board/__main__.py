"""The board: ``python -m experiments.board verify``, then ``python -m experiments.board build``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

from experiments.run import ProgramOptions, Run, command, option, say

DOES = ("verify", "build")


@dataclass
class BoardOptions(ProgramOptions):
    """Verify what was submitted to leaderboard/, and make the board's pages from the reports.

    Each submission is played once, on tasks and noise that are drawn then, and leaves a report; see
    docs/board.md. The exit status is 1 if a submission is refused.

    Args:
        do: verify or build, which may stand without do=.
        board: folder with submissions/, reports/, and headroom.json of experiments.headroom, for the bound.
        tasks: fresh ones that are drawn for a verification.
        private: a file of tasks as for env.suite=csv:, which isn't public and on which submissions are played, too;
            empty for none, and then reports say so.
        references: also verify the built-in policies and mechanisms, once each.
        only: tracks to verify; all by default.
        pages: folder for the pages.
    """

    do: str = option("verify", among=DOES)
    board: str = "leaderboard"
    tasks: int = option(150, least=4)
    private: str = ""
    references: bool = False
    only: list[str] = option([], unique=True)
    pages: str = "outputs/board"


def by_word(main: Callable[[], None]) -> Callable[[], None]:
    """A command whose word verify or build stands for do=verify or do=build."""

    @wraps(main)
    def worded() -> None:
        sys.argv[1:] = [f"do={word}" if word in DOES else word for word in sys.argv[1:]]
        main()

    return worded


@by_word
@command(BoardOptions)
def main(options: BoardOptions, run: Run) -> None:
    """Play what is new, or make the pages."""
    from experiments.board.entries import TRACKS, new_entries
    from experiments.board.pages import build, read_reports
    from experiments.board.verifying import verify
    from steer_env.tasks import load_suite

    board = Path(options.board).expanduser()
    for track in options.only:
        TRACKS[track]
    if options.do == "build":
        if not options.pages:
            raise ValueError("pages must be a path, got ''")
        reports = read_reports(board / "reports")
        build(reports, Path(options.pages).expanduser(), board / "headroom.json")
        say(f"wrote {options.pages}/index.html: {len(reports)} entries")
        return
    if not (board / "submissions").is_dir():
        raise FileNotFoundError(f"no board in {board}: there is no folder submissions")
    if options.private and len(load_suite(f"csv:{options.private}")) < 2:
        raise ValueError(f"{options.private} must hold at least 2 tasks")
    entries, refused = new_entries(board, options.only or list(TRACKS), options.references)
    for place, reason in refused.items():
        say(f"refused: {place}: {reason}")
    done = verify(entries, board / "reports", options.tasks, options.private)
    say(f"verified {len(done)}: {', '.join(done) or 'nothing is new'}")
    if refused:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
