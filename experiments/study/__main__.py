"""The paper's tables for its real people: ``python -m experiments.study path=Steerability``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.run import REQUIRED, Run, RunOptions, command
from experiments.run.released.files import load_study
from experiments.run.released.sessions import study_traces
from steer_env.files import write_atomically
from steer_env.traces import write_traces


@dataclass
class StudyOptions(RunOptions):
    """Print the paper's tables for the real people of its authors' released study, beside what the paper prints.

    The folder also receives tasks.csv, the pairs of goal prompt and a real user's first prompt, for
    env.suite=csv:FOLDER/tasks.csv.

    Args:
        path: a checkout of the authors' repository, https://github.com/SarahBentley/Steerability, or a folder with its
            image_generation/data and LLMs/data. Nothing is downloaded.
    """

    path: str = REQUIRED


@command(StudyOptions)
def main(options: StudyOptions, run: Run) -> dict[str, Any]:
    """Read and check the release, then leave its sessions as traces and the tables as a report."""
    from experiments.study.report import study_report

    study = load_study(Path(options.path).expanduser())
    traces, report = study_traces(study), study_report(study)
    folder = run.open()
    write_traces(traces, folder / "traces" / "study.parquet")
    of_images = [trace for trace in traces if trace.goal_prompt and trace.prompt and not trace.texts]
    pairs = dict.fromkeys((trace.goal_prompt, trace.prompt) for trace in of_images)
    tasks = pd.DataFrame(list(pairs), columns=["goal_prompt", "prompt"])
    write_atomically(folder / "tasks.csv", tasks.to_csv(index=False))
    run.publish(report, wide=True)
    return {"path": options.path, "sessions": len(traces), "skipped": int(study.skipped["rows"].sum())}


if __name__ == "__main__":
    main()
