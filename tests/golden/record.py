"""Record the golden run anew: ``python -m tests.golden.record [RUN ...]``, with STEER_ENV_STUDY for the study.

Only where a fault that was mended changes a number; the commit says which.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.test_golden import GOLDEN, RUNS, STUDY, observe, run


def main() -> None:
    names = sys.argv[1:] or [name for name in RUNS if name != "study" or STUDY]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "leaderboard" in names and "thompson" not in names:
            run("thompson", folder)
        for name in names:
            seen = observe(name, run(name, folder))
            parts = [f'"{key}": {_lines(value)}' for key, value in seen.items()]
            (GOLDEN / f"{name}.json").write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def _lines(value: object) -> str:
    """JSON with a line for each entry, so that differences between two recordings can be read."""
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    entries = [f"{json.dumps(key)}: {json.dumps(inner, ensure_ascii=False)}" for key, inner in value.items()]
    return "{\n" + ",\n".join(entries) + "}"


if __name__ == "__main__":
    main()
