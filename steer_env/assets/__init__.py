"""The weights that ship with the package, each file checked against its hash before it is read."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from steer_env.files import file_hash

ROOT = Path(__file__).parent
MANIFEST = "manifest.json"


class AssetError(RuntimeError):
    """A shipped file that is missing or isn't what was shipped."""


def write_manifest(folder: Path) -> None:
    """Record the SHA-256 of every file below an asset's folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    hashes = {path.relative_to(folder).as_posix(): file_hash(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=2) + "\n")


def verified(folder: Path) -> Path:
    """The folder itself, once all its files match its manifest, which lists all files there.

    Raises:
        AssetError: naming the file that is missing, damaged, or not listed.
    """
    found = sorted(folder.rglob("*")) if folder.is_dir() else []
    files = [path for path in found if path.is_file() and not path.name.startswith(".")]
    state = tuple((str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _verified(folder, folder.resolve(), state)


@lru_cache
def _verified(folder: Path, place: Path, state: tuple[tuple[str, int, int], ...]) -> Path:
    """The same, for a folder at a place, in such a state."""
    advice = "reinstall steer_env, or make the assets again with `python -m experiments.pretrain`"
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise AssetError(f"{manifest} is missing; {advice}")
    try:
        listed = dict(json.loads(manifest.read_text()))
    except (ValueError, TypeError) as error:
        raise AssetError(f"{manifest} is damaged; {advice}") from error
    if strange := sorted({name for name, _, _ in state} - {MANIFEST, *listed}):
        raise AssetError(f"{folder / strange[0]} isn't listed in {MANIFEST}; {advice}")
    for name, expected in listed.items():
        path = folder / name
        if not path.is_file():
            raise AssetError(f"{path} is missing; {advice}")
        if file_hash(path) != expected:
            raise AssetError(f"{path} is damaged: its SHA-256 isn't the recorded one; {advice}")
    return folder


def version(folder: Path) -> str:
    """Eight hexadecimal digits that change whenever a file of the asset does."""
    return file_hash(verified(folder) / MANIFEST)[:8]
