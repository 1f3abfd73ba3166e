"""The architecture, as a test: imports point one way."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("steer_env", "agents", "conf", "experiments")
BASE = {"types", "registry", "limits", "ties"}
ALLOWED: dict[str, set[str]] = {
    "types": set(),
    "registry": set(),
    "limits": {"registry"},
    "files": set(),
    "traces": {"files", "types"},
    "tiles": BASE | {"assets", "generators", "humans", "tiles"},
    "devices": {"registry"},
    "rendering": set(),
    "assets": {"files"},
    "proposals": set(),
    "mechanisms": BASE | {"assets", "compatibility", "mechanisms", "metrics", "proposals"},
    "ties": set(),
    "fingerprints": set(),
    "imaging": BASE
    | {"assets", "compatibility", "files", "fingerprints", "imaging", "mechanisms", "proposals", "versions"},
    "versions": {""},
    "humans": BASE | {"compatibility", "devices", "humans", "servers"},
    "tasks": BASE | {"tiles"},
    "generators": BASE | {"compatibility", "devices", "files", "fingerprints", "generators", "servers"},
    "servers": {"compatibility", "files", "limits", "redaction"},
    "metrics": BASE | {"compatibility", "devices", "fingerprints", "metrics"},
    "compatibility": set(),
    "redaction": set(),
    "policies": BASE | {"assets", "files", "humans", "mechanisms", "policies", "proposals"},
    "dynamics": {"compatibility", "limits", "types", "mechanisms", "proposals"},
    "envs": BASE
    | {"devices", "dynamics", "envs", "generators", "humans", "imaging", "mechanisms", "metrics", "proposals"}
    | {"rendering", "tasks"},
    "testing": {"types", "policies"},
    "hub": {"", "files", "policies", "traces"},
    "sb3": {"envs", "evaluation", "traces"},
    "evaluation.uncertainty": set(),
    "evaluation.statistics": {"evaluation", "traces"},
    "evaluation.plots": {"evaluation", "traces"},
    "evaluation.reports": {"evaluation", "files", "traces"},
    "evaluation.leaderboard": {"evaluation", "traces"},
    "evaluation.claims": {"evaluation", "policies"},
    "evaluation.ratings": {"evaluation", "registry"},
    "evaluation.off_policy": {"evaluation", "policies", "traces"},
    "evaluation.rollout": {"envs", "humans", "policies", "traces", "types", "versions"},
    "evaluation.suites": {"envs", "evaluation", "policies", "traces", "types"},
    "evaluation.evaluate": {"evaluation", "limits", "policies", "registry", "traces", "types"},
}
"""What each part of ``steer_env`` may import of it."""


def imported(path: Path) -> Iterator[str]:
    """Full names of what a file imports anywhere, and is not only for type checkers."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if is_module(name) else node.module for name in parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def part(path: Path) -> str:
    """``envs`` for ``steer_env/envs/vector.py``; ``evaluation.plots`` for that file."""
    names = path.relative_to(ROOT / "steer_env").with_suffix("").parts
    return ".".join(names[:2]) if names[0] == "evaluation" else names[0]


FILES = sorted({*(ROOT / "steer_env").rglob("*.py")} - {ROOT / "steer_env" / "__init__.py"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_parts_of_the_package_import_only_what_lies_below_them(path: Path) -> None:
    if path.name == "__init__.py" and part(path) in ("__init__", "evaluation.__init__"):
        assert not [name for name in imported(path) if name.split(".")[0] in PACKAGES]
        return
    for name in imported(path):
        top, _, rest = name.partition(".")
        if top == "steer_env":
            assert rest.split(".")[0] in ALLOWED[part(path)], f"{path.name} imports {name}"
        assert top not in ("agents", "conf", "experiments"), f"{path.name} imports {name}"


def test_nothing_imports_what_stands_above_it() -> None:
    for path in (ROOT / "agents").rglob("*.py"):
        assert not {name.split(".")[0] for name in imported(path)} & {"conf", "experiments"}, path.name


def test_importing_the_package_is_quick() -> None:
    """Gymnasium loads the module whenever an id is looked up: no model library may come with it."""
    heavy = "[name for name in ('torch', 'diffusers', 'transformers', 'pandas', 'matplotlib') if name in sys.modules]"
    code = f"import sys, steer_env; print({heavy})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
