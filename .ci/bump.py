"""``python .ci/bump.py VERSION``: write a release's version and date where they stand, and open the next section."""

import datetime
import re
import sys
from pathlib import Path

PLACES = (
    ("steer_env/__init__.py", r'^__version__ = ".*"$', '__version__ = "{version}"'),
    ("CITATION.cff", r"^version: .*\n(date-released: .*\n)?", "version: {version}\ndate-released: {date}\n"),
    ("CHANGELOG.md", r"^## Unreleased$", "## Unreleased\n\n## {version} ({date})"),
)


def bump(root: Path, version: str, date: datetime.date) -> None:
    """Change three files.

    Raises:
        SystemExit: a version that isn't like 0.2.0, one that the changelog has already, or a file without its line.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise SystemExit(f"a version is three numbers, such as 0.2.0, got {version!r}")
    if re.search(rf"^## {re.escape(version)}\b", (root / "CHANGELOG.md").read_text(), flags=re.MULTILINE):
        raise SystemExit(f"CHANGELOG.md has {version} already")
    for name, pattern, line in PLACES:
        text = (root / name).read_text()
        changed, count = re.subn(pattern, line.format(version=version, date=date), text, flags=re.MULTILINE)
        if count != 1:
            raise SystemExit(f"{name} has {count} lines like {pattern}, not one")
        (root / name).write_text(changed)


if __name__ == "__main__":
    bump(Path(__file__).parents[1], sys.argv[1] if len(sys.argv) > 1 else "", datetime.date.today())
