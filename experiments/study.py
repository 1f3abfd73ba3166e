"""The paper's tables for its real people: ``python -m experiments.study path=Steerability folder=outputs/study``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from conf import schema
from experiments.runs import application, check_run, close_run, console, open_run
from steer_env.files import write_atomically
from steer_env.study.files import load_study
from steer_env.study.reports import study_report
from steer_env.study.sessions import study_traces
from steer_env.traces import write_traces

schema.register()


@application("study")
def main(config: Any) -> None:
    """Read and check the release, then leave its sessions as traces and the tables as a report."""
    check_run(config)
    study = load_study(Path(config.path))
    traces = study_traces(study)
    report = study_report(study)
    folder = open_run(config)
    write_traces(traces, folder / "traces" / "study.parquet")
    # What real users wanted of images and wrote first, to train and evaluate on: env.suite=csv:FOLDER/tasks.csv.
    of_images = [trace for trace in traces if trace.goal_prompt and trace.prompt and not trace.texts]
    pairs = dict.fromkeys((trace.goal_prompt, trace.prompt) for trace in of_images)
    tasks = pd.DataFrame(list(pairs), columns=["goal_prompt", "prompt"])
    write_atomically(folder / "tasks.csv", tasks.to_csv(index=False))
    report.save(folder)
    close_run(folder, {"path": config.path, "sessions": len(traces), "skipped": int(study.skipped["rows"].sum())})
    console.print(report.markdown(), markup=False, highlight=False, soft_wrap=True)
    console.print(f"wrote {folder}/report.html, report.md, tasks.csv and traces/")


if __name__ == "__main__":
    main()
