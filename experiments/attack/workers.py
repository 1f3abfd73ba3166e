"""Commands in forks of one process that has imported everything, so that a try costs a fraction of a second."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra.core.global_hydra import GlobalHydra

from experiments.run import console, folder
from experiments.run.options import commands
from steer_env.generators import load_generator
from steer_env.metrics import load_metric

SECONDS = 60
"""Most of the processor's time that a try may take; what takes longer, or ten times as long by the clock, hangs."""
_HEAVY = ("matplotlib.pyplot", "pandas", "pyarrow.parquet", "scipy.stats", "rich.markdown", "sb3_contrib", "omegaconf")


@dataclass(frozen=True)
class Outcome:
    """How a try ended: its exit status, negative for the signal that ended it, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The message of a refusal in one line; empty for whatever else happened."""
        lines = self.err.strip().splitlines()
        return lines[0] if self.status == 2 and len(lines) == 1 and lines[0].startswith("error: ") else ""

    def __str__(self) -> str:
        lines = (self.err or self.out).strip().splitlines()
        return f"status {self.status}: {lines[-1][:200] if lines else 'nothing printed'}"


def warm() -> None:
    """Import what commands import, and load the embedded model; no thread survives a fork, so nothing is computed."""
    torch.set_num_threads(1)
    for name in _HEAVY:
        importlib.import_module(name)
    for name in ("experiments.run.playing", "experiments.run.learning", "experiments.run.parts", "agents.sb3"):
        importlib.import_module(name)
    load_generator("tiles")
    load_metric("tile-perceptual")


def forked(work: Callable[[], object], log: Path, seconds: int = SECONDS) -> Outcome:
    """Do something in a fork of this process, which it can't change; the exit status is 0 unless it fails or says so.

    The log receives what it prints, in files of this name and ``.out`` or ``.err``.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _work(work, log, seconds)
    _, status = os.waitpid(child, 0)
    printed = [log.with_name(f"{log.name}.{kind}").read_text("utf-8", "replace") for kind in ("out", "err")]
    return Outcome(os.waitstatus_to_exitcode(status), *printed)


def _work(work: Callable[[], object], log: Path, seconds: int) -> None:
    status = 1
    try:
        for number in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(10 * seconds)
        _separate(log)
        work()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with ExitStack() as both:
            both.callback(sys.stderr.flush)
            both.callback(sys.stdout.flush)
        os._exit(status)


def _separate(log: Path) -> None:
    """Let go of what belongs to the process that forked: its terminal, its locks, its configuration."""
    for stream, kind in ((sys.stdout, "out"), (sys.stderr, "err")):
        target = os.open(log.with_name(f"{log.name}.{kind}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, stream.fileno())
    console.file = sys.stdout
    folder.held = ExitStack()
    # The command that forks asks Hydra for whole errors, to print them in one line.
    os.environ.pop("HYDRA_FULL_ERROR", None)
    GlobalHydra.instance().clear()


def command(name: str, arguments: Sequence[str]) -> None:
    """Run a command as its command line would, in this process."""
    main = importlib.import_module(commands()[name]).main
    sys.argv = [name, *arguments]
    main()


def ran(
    name: str, arguments: Sequence[str], log: Path, before: Callable[[], object] | None = None, seconds: int = SECONDS
) -> Outcome:
    """Run a command in a fork, after something that disturbs it."""

    def work() -> None:
        if before:
            before()
        command(name, arguments)

    return forked(work, log, seconds)
