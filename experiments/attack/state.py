"""The same command twice: once in a process that other libraries have made a mess of."""

from __future__ import annotations

import decimal
import locale
import os
import random
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from experiments.attack.kills import SHORT, difference
from experiments.attack.workers import ran

COMMANDS = (
    ("train", ("agent=thompson", "episodes=8", "batch=4", *SHORT)),
    ("train", ("agent=planning", "episodes=8", "batch=4", *SHORT)),
    ("evaluate", ("policies=[random-bucket,published]", "tasks=4", "tasks_per_batch=2", "strips=0", *SHORT)),
)


def _gradients() -> None:
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("medium")


def _inference() -> None:
    torch._C._set_grad_enabled(True)
    torch.autograd.set_detect_anomaly(True)
    torch.use_deterministic_algorithms(True)


def _locale() -> None:
    for name in ("de_DE.UTF-8", "tr_TR.UTF-8", "C"):
        with suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, name)
            return


def _places() -> None:
    os.chdir(tempfile.mkdtemp())
    os.umask(0o077)


def _random() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 (what others do)
    torch.manual_seed(1)


def _numbers() -> None:
    decimal.getcontext().prec = 3
    pd.set_option("display.precision", 1)
    pd.set_option("display.float_format", "{:.0f}".format)
    pd.set_option("display.max_columns", 2)
    np.set_printoptions(precision=1)
    np.seterr(all="raise", under="ignore")
    warnings.simplefilter("ignore")


MESSES: dict[str, Callable[[], object]] = {
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "gradients": _gradients,
    "inference": _inference,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16).__enter__(),
    "threads": lambda: torch.set_num_threads(2),
    "locale": _locale,
    "places": _places,
    "random": _random,
    "numbers": _numbers,
}


def attack(folder: Path, number: int, seed: int) -> tuple[int, list[str]]:
    """Run so many pairs of a command and a mess, and compare each with the command alone; nothing is drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    failures, pairs = list[str](), [(place, mess) for mess in MESSES for place in range(len(COMMANDS))][:number]
    for place in sorted({place for place, _ in pairs}):
        command, options = COMMANDS[place]
        outcome = ran(command, [f"folder={folder}/alone-{place}", *options], folder / f"log-{place}")
        if outcome.status:
            failures.append(f"{command} alone: {outcome}")
    for place, mess in pairs:
        command, options = COMMANDS[place]
        name = f"{place}-{mess}"
        outcome = ran(command, [f"folder={folder}/{name}", "threads=1", *options], folder / f"log-{name}", MESSES[mess])
        complaint = str(outcome) if outcome.status else difference(folder / f"alone-{place}", folder / name)
        if complaint:
            failures.append(f"{command} {options[0]} after {mess}: {complaint}")
    return len(pairs), failures
