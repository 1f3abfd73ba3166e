"""
A study with bots
=================

Simulated users take part in the study that people take part in: they load its pages and images, and choose by what
they see. So a study is rehearsed, from the consent to the table, before anyone is invited. With three commands it is
``python -m experiments.people folder=…``, the same with ``mode=bots`` in a second terminal, and ``mode=export``; here
all of it happens in one process.
"""

# %%
# Two conditions on the same four goals; each of four people plays two sessions of one condition.
import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp

import httpx
import matplotlib.pyplot as plt
import numpy as np

from experiments.people.app import make_app
from experiments.people.bots import Bot
from experiments.people.export import traces_of
from experiments.people.log import Store
from experiments.people.options import PeopleOptions
from experiments.people.screens import screen_of
from experiments.people.study import Study
from experiments.people.worker import Worker
from steer_env.humans import load_human
from steer_env.metrics import load_metric

folder = mkdtemp()
options = PeopleOptions(folder=folder, conditions=["images:random-bucket", "images:published"], goals=4, sessions=2)
study = Study(options)
store = Store(Path(folder), lambda log: screen_of(log, study).waits)

# %%
# The worker makes the images that people wait for. The server only answers requests, and is called directly here.
worker, over = Worker(study, store, asdict(options.env)), threading.Event()


def work() -> None:
    """Until the last bot is done."""
    while not over.wait(0.02):
        worker.turn()


async def take_part(people: int) -> list:
    """All bots at once, each with a hesitant user's eye."""
    human, metric = load_human("hesitant:threshold=0.015"), load_metric("tile-perceptual")
    server = httpx.ASGITransport(make_app(study, store, options))
    async with httpx.AsyncClient(transport=server, base_url="http://127.0.0.1") as client:
        bots = [Bot(client, number, options.bots, human, metric, leaves=False) for number in range(people)]
        return await asyncio.gather(*(bot.play() for bot in bots))


with ThreadPoolExecutor() as threads:
    threads.submit(work)
    # Jupyter has a loop of its own in the main thread.
    try:
        played = threads.submit(asyncio.run, take_part(4)).result()
    finally:
        over.set()
print(f"{len(played)} bots sent {sum(len(each.answers) for each in played)} answers")

# %%
# What comes out are traces, as simulated episodes and the released study are. Four sessions a condition say nothing
# about policies, and that the whole way works.
traces = traces_of(study, store)
store.close()
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for policy in sorted({trace.policy for trace in traces}):
    similarities = np.array([trace.similarities for trace in traces if trace.policy == policy])
    axis.plot(range(1, 6), similarities.mean(axis=0), marker="o", label=f"{policy}, {len(similarities)} sessions")
axis.set(xlabel="attempt", ylabel="mean similarity to the goal", xticks=range(1, 6))
axis.legend()
