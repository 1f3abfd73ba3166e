"""What was measured: rows of tables, written to a page and to a file of JSON after each measurement."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from steer_env.evaluation.reports import markdown_table
from steer_env.files import write_atomically

_REHEARSED = (
    "**This is a rehearsal on a CPU at a reduced size: its figures show that the command works, and say nothing about "
    "a GPU. The figures on a GPU are to be taken.**"
)
_TEXT = """# Speed on a GPU

`make gpu` (`python -m experiments.speed page=docs/gpu.md`) writes this page and [{json}]({json}) on a machine with one
card, without a network or weights: models have the sizes of Stable Diffusion 1.4 and XL and random weights, which makes
no difference to their speed. No measurement begins after {minutes:g} minutes, and what there was no time for is said.
Everything is measured in one process, after a short run that isn't counted. “Of the matrix rate” is the share of the
time that the counted operations of an image, decoding included, would take at the rate at which the card multiplies
large matrices. Figures of two cards are never compared with each other.
"""
_TITLES = {
    "machine": "Machine",
    "rates": "What the card can do",
    "images": "Images of Stable Diffusion 1.4's size",
    "parts": "Decoder and metric",
    "episodes": "Whole episodes",
    "choices": "Choices that change between batch sizes",
    "kernels": "Where a pass of the denoiser's time goes",
    "xl": "Stable Diffusion XL's size",
    "hours": "60,000 episodes of 10 images",
    "skipped": "Not measured",
}


@dataclass
class Findings:
    """Tables by name, in the order of the page; the JSON has the page's name. Figures of a rehearsal mean nothing."""

    page: Path
    rehearsal: bool
    minutes: float
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: str, **row: Any) -> None:
        """Write down a row, at once: a later measurement may never come back."""
        assert table in _TITLES, table
        self.tables.setdefault(table, []).append(row)
        self.write()

    def write(self) -> None:
        """Put both files in the place of what was there."""
        when = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        content = {"date": when, "rehearsal": self.rehearsal, **self.tables}
        write_atomically(self.page.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
        write_atomically(self.page, self.markdown(when))

    def markdown(self, when: str) -> str:
        """The page."""
        parts = [_TEXT.format(json=self.page.with_suffix(".json").name, minutes=self.minutes)]
        parts.append(f"{_REHEARSED}\n" if self.rehearsal else f"Printed on {when}.\n")
        for name, title in _TITLES.items():
            if rows := self.tables.get(name):
                shown = [{key: _shown(value) for key, value in row.items()} for row in rows]
                parts.append(f"## {title}\n\n{markdown_table(pd.DataFrame(shown).fillna(''))}\n")
        return "\n".join(parts)


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def machine(device: str) -> dict[str, Any]:
    """Card, driver, clocks and versions."""
    versions: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version()}
    if torch.device(device).type != "cuda":
        return {"card": f"CPU, {torch.get_num_threads()} threads", **versions}
    properties = torch.cuda.get_device_properties(device)
    versions |= {"CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
    return {"card": properties.name, "GiB": properties.total_memory / 2**30, **_driver(), **versions}


def _driver() -> dict[str, str]:
    """As ``nvidia-smi`` says it, where it is there."""
    fields = {"driver": "driver_version", "MHz": "clocks.sm", "most MHz": "clocks.max.sm", "memory MHz": "clocks.mem"}
    command = ["nvidia-smi", f"--query-gpu={','.join(fields.values())}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(fields, answer.splitlines()[0].split(", "), strict=False))
