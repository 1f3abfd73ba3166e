"""One environment: the lock names all that is installed, and images and CI install from it."""

import datetime
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")


def locked() -> dict[str, str]:
    """Package → its version on this machine."""
    requirements = map(Requirement, LINES)
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in requirements
        if each.marker is None or each.marker.evaluate()
    }


def test_the_lock_has_versions_alone() -> None:
    """No index, hash, extra or build: one version of torch is another build elsewhere, and pip takes no extras here."""
    assert [line for line in LINES if not re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line)] == []


def test_the_lock_names_what_the_project_asks_for() -> None:
    """Run `make lock` after a change of pyproject.toml."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    lists = [project["dependencies"], *project["optional-dependencies"].values(), *groups.values()]
    asked = [Requirement(text) for texts in lists for text in texts]
    versions = locked()
    for each in asked:
        if each.name != "steer-env":
            assert each.specifier.contains(versions[canonicalize_name(each.name)], prereleases=True), each


def test_the_extra_called_all_holds_every_extra() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (own,) = map(Requirement, extras["all"])
    assert own.extras == {name for name in extras if name != "all"}


@pytest.mark.skipif(not Path(sys.prefix, ".ready").exists(), reason="not in an environment that `make setup` made")
def test_nothing_is_installed_that_the_lock_does_not_name() -> None:
    versions = locked()
    # Ray puts a folder of its own packages on the path.
    installed = list(metadata.distributions(path=[sysconfig.get_path(kind) for kind in ("purelib", "platlib")]))
    found = {canonicalize_name(each.metadata["Name"]): Version(each.version).public for each in installed}
    others = {name: version for name, version in found.items() if versions.get(name) != version and name != "steer-env"}
    assert others == {}


@pytest.mark.skipif(shutil.which("hadolint", path=str(Path(sys.executable).parent)) is None, reason="needs hadolint")
def test_the_images_are_linted() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, *DOCKERFILES], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_images_are_made_from_the_lock(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "RUN make setup" in text
    copied = next(line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY Makefile"))
    assert {"pyproject.toml", "constraints.txt"} <= set(copied)
    assert all((ROOT / file).exists() for file in copied)


def test_public_ci_does_what_ci_does_on_every_python() -> None:
    jobs = WORKFLOW["jobs"]
    assert any("bash .ci/run" in step.get("run", "") for step in jobs["all"]["steps"])
    pythons = {*jobs["pythons"]["strategy"]["matrix"]["python"], jobs["all"]["steps"][1]["with"]["python-version"]}
    classifiers = {line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"] if "Python :: 3." in line}
    assert pythons == classifiers
    assert PROJECT["project"]["requires-python"] == ">=" + min(pythons, key=lambda text: int(text[2:]))


BUMP = runpy.run_path(str(ROOT / ".ci" / "bump.py"))["bump"]


def test_a_release_writes_its_version_in_three_places(tmp_path: Path) -> None:
    for name in ("steer_env/__init__.py", "CITATION.cff", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    BUMP(tmp_path, "98.7.6", datetime.date(2030, 1, 2))
    assert '__version__ = "98.7.6"' in (tmp_path / "steer_env/__init__.py").read_text()
    citation = yaml.safe_load((tmp_path / "CITATION.cff").read_text())
    assert (citation["version"], citation["date-released"]) == ("98.7.6", datetime.date(2030, 1, 2))
    assert "## Unreleased\n\n## 98.7.6 (2030-01-02)\n" in (tmp_path / "CHANGELOG.md").read_text()
    with pytest.raises(SystemExit, match=r"has 98\.7\.6 already"):
        BUMP(tmp_path, "98.7.6", datetime.date(2030, 1, 2))


@pytest.mark.parametrize("version", ["", "0.2", "v0.2.0", "0.2.0rc1"])
def test_a_release_has_three_numbers(version: str) -> None:
    with pytest.raises(SystemExit, match="three numbers"):
        BUMP(ROOT, version, datetime.date(2030, 1, 2))
