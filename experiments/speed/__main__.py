"""What a card can do, in one command: ``python -m experiments.speed page=docs/gpu.md``, or ``make gpu``."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from experiments.run import ProgramOptions, Run, command, option, say


@dataclass
class SpeedOptions(ProgramOptions):
    """Measure images and episodes a second on one GPU, against the plain pipeline and the card's own matrix rate.

    Args:
        page: a Markdown file that receives the tables; a file of the same name receives them as JSON.
        device: such as cuda or cuda:1.
        dtype: precision of the large models.
        minutes: after which no further measurement begins.
        rehearsal: go through everything at a reduced size on the CPU, to see that it works; its figures mean nothing.
    """

    page: str = "outputs/gpu.md"
    device: str = "cuda"
    dtype: str = option("bfloat16", among=("float32", "float16", "bfloat16"))
    minutes: float = option(7.0, least=0.1)
    rehearsal: bool = False


@command(SpeedOptions)
def main(options: SpeedOptions, run: Run) -> None:
    """Measure in the order in which a cut loses the least; write both files after each measurement; print the page."""
    import torch

    from experiments.speed.findings import Findings
    from experiments.speed.measures import REHEARSED, Measures, Plan

    device, dtype = ("cpu", "float32") if options.rehearsal else (options.device, options.dtype)
    if not options.rehearsal and not torch.cuda.is_available():
        raise ValueError("there is no GPU that torch can use here: rehearsal=true goes through everything on the CPU")
    page = Path(options.page).expanduser()
    if page.suffix != ".md":
        raise ValueError(f"page must be a Markdown file, such as outputs/gpu.md, got {options.page}")
    findings = Findings(page, options.rehearsal, options.minutes)
    plan, end = REHEARSED if options.rehearsal else Plan(), time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        Measures(findings, plan, device, dtype, end, Path(folder)).run()
    print(page.read_text())
    say(f"written to {page} and {page.with_suffix('.json')}")


if __name__ == "__main__":
    main()
