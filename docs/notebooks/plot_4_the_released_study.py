"""
Read the released study
=======================

The paper's authors released the sessions of their participants. The data isn't part of this package: name the folder
where you have it in ``STEER_ENV_STUDY``. Without it this notebook says so, and shows nothing.
"""

# %%
# Sessions become traces, as simulated episodes are, so everything that reads traces reads people, too.
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from experiments.run.released.files import load_study
from experiments.run.released.sessions import study_traces
from steer_env.traces import traces_to_frame

folder = os.environ.get("STEER_ENV_STUDY", "")
traces = study_traces(load_study(Path(folder))) if folder else []
print(f"{len(traces)} sessions" if traces else "no study here: set STEER_ENV_STUDY to its folder")

# %%
# People who rewrote their prompts: how similar their images became to the goal, attempt by attempt. They gain little,
# beside what is left between the last attempt and 1.
text = [trace for trace in traces if trace.suite == "study-text" and len(trace.similarities) == 5]
if text:
    similarities = np.array([trace.similarities for trace in text])
    error = similarities.std(axis=0, ddof=1) / np.sqrt(len(similarities))
    figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
    axis.errorbar(range(1, 6), similarities.mean(axis=0), yerr=error, marker="o", capsize=3)
    axis.set(xlabel="attempt", ylabel="mean similarity to the goal", xticks=range(1, 6))

# %%
# One model each, as the study's first table has it; ``experiments.study`` prints that table with clustered errors.
if text:
    frame = traces_to_frame(text)
    print(frame.groupby("generator")["improvement"].agg(["size", "mean"]).round(3).to_string())
