"""``python -m docs.site``: the site in docs/_build/html, made offline.

A warning or a dead link ends it with status 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs.site.links import dead_links
from docs.site.stage import ROOT, stage


def main() -> int:
    """Stage, build, add the board, check the links."""
    parser = argparse.ArgumentParser(prog="docs.site", description="Build the site.")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "_build", help="receives source/ and html/")
    parser.add_argument("--quick", action="store_true", help="without the notebooks' results, which take minutes")
    options = parser.parse_args()
    source, html = options.folder / "source", options.folder / "html"
    stage(source)
    from docs.site.pictures import draw

    draw(source / "reference" / "pictures")
    from sphinx.cmd.build import build_main

    notebooks = ["-D", "plot_gallery=0"] if options.quick else []
    status = build_main(
        ["-q", "-W", "--keep-going", "-c", str(Path(__file__).parent), *notebooks, str(source), str(html)]
    )
    from experiments.board.pages import build, read_reports

    board = ROOT / "leaderboard"
    build(read_reports(board / "reports"), html / "leaderboard", board / "headroom.json")
    dead = dead_links(html)
    for line in dead:
        print(f"dead link: {line}", file=sys.stderr)
    if not status and not dead:
        print(html / "index.html")
    return int(status or bool(dead))


if __name__ == "__main__":
    raise SystemExit(main())
