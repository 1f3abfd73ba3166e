"""Who is at work in a run folder: a lock that the operating system releases however its process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from agents.checkpoints import RunExistsError
from experiments.requeued import is_requeued

LOCK = "run.lock"
_PATIENCE, _PATIENCE_REQUEUED = 1, 60
"""Seconds to wait for a lock: whoever asks whether someone is at work holds it for a moment."""
_held = ExitStack()


@contextmanager
def released_at_the_end() -> Iterator[None]:
    """What is claimed meanwhile is released afterwards."""
    with _held:
        yield


def claim(folder: Path) -> None:
    """Hold an existing folder against other processes; claiming it twice is harmless.

    Raises:
        RunExistsError: another process is at work there.
    """
    # The first try of a requeued job is over, but a shared file system may learn of it late.
    patience = _PATIENCE_REQUEUED if is_requeued() else _PATIENCE
    try:
        _held.enter_context(_ours(folder).acquire(timeout=patience))
    except Timeout:
        raise RunExistsError(f"another process is at work in {folder}") from None


def is_ours(folder: Path) -> bool:
    """Has this process claimed the folder?"""
    return _ours(folder).is_locked


def is_claimed(folder: Path) -> bool:
    """Is a process at work there now? One that was killed isn't."""
    if (folder / LOCK).is_symlink() or not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, blocking=False):
            return False
    except Timeout:
        return True


def _ours(folder: Path) -> FileLock:
    """This process's one lock on the folder."""
    return FileLock(folder / LOCK, is_singleton=True)
