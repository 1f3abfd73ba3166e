"""Simulated users over HTTP: they see what a browser sees, and choose by the metric from the images that they load."""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
import numpy as np
import pandas as pd
import torch
from PIL import Image

from experiments.people.options import BotsOptions, PeopleOptions
from experiments.run import Run, say
from steer_env.evaluation.reports import Report, Section
from steer_env.humans import load_human
from steer_env.metrics import load_metric
from steer_env.tiles import tilings
from steer_env.types import Human, Metric

_FIELD = re.compile(r'name="(\w+)" value="([^"]*)"')
_STEP = re.compile(r'data-step="([^"]*)"')
_PICTURE = re.compile(r'src="(/s/[^"]+/picture/[^"]+/(\w+)\.png)"')
_RANGE = re.compile(r'name="(value-\d+)" value="(\d+)"')
_AGAIN = 0.5
"""Seconds before a request is sent again that failed."""
_LONGEST = 600.0
"""Seconds after which a bot gives up."""


@dataclass
class Played:
    """What one bot did.

    Args:
        path: of its screen.
        answers: what it sent, by step, in order.
        waits: seconds from each answer to the next screen with its images loaded.
        left: whether it went away in the middle.
    """

    path: str
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    left: bool = False


class Bot:
    """One simulated user, who chooses as a human by a metric, and may leave after some steps."""

    def __init__(
        self, client: httpx.AsyncClient, number: int, options: BotsOptions, human: Human, metric: Metric, leaves: bool
    ) -> None:
        self._client, self._human, self._metric, self._think = client, human, metric, options.think
        self._rng = np.random.default_rng([0xB075, options.seed, number])
        self._leaves = int(self._rng.integers(3, 6)) if leaves else 0

    async def play(self) -> Played:
        """From the study's address to the last page."""
        page = await self._request("GET", "/")
        page = await self._request("POST", "/arrive", dict(_FIELD.findall(page.text)))
        played, sent = Played(page.url.path), 0.0
        while found := _STEP.search(page.text):
            step, kind = found[1], found[1].split(".")[2]
            if ".wait." in step:
                await self._request("GET", f"{played.path}/state")
                page = await self._request("GET", played.path)
                continue
            pictures = {item: await self._picture(path) for path, item in dict.fromkeys(_PICTURE.findall(page.text))}
            if sent and pictures:
                played.waits.append(time.monotonic() - sent)
            if ".full." in step:
                break
            if not kind or (self._leaves and len(played.answers) >= self._leaves):
                played.left = bool(kind)
                break
            played.answers[step] = self._answer(step, page.text, pictures)
            form = dict(_FIELD.findall(page.text.partition("</form>")[0]))
            await asyncio.sleep(self._think * self._rng.exponential())
            sent = time.monotonic()
            sending = {"csrf": form["csrf"], "step": step, **played.answers[step]}
            page = await self._request("POST", played.path, sending)
            if page.status_code == 422:
                raise RuntimeError(f"{step}: the server refused {played.answers[step]}")
        return played

    async def _request(self, method: str, path: str, form: Mapping[str, str] | None = None) -> httpx.Response:
        """Sent again until it is answered, as the page does."""
        end = time.monotonic() + _LONGEST
        while True:
            try:
                reply = await self._client.request(method, path, data=form, follow_redirects=True)
                if reply.status_code < 429:
                    return reply
            except httpx.TransportError:
                pass
            if time.monotonic() > end:
                raise TimeoutError(f"{method} {path.split('/')[1]}: no answer")
            await asyncio.sleep(_AGAIN)

    async def _picture(self, path: str) -> torch.Tensor | None:
        """Float (3, H, W) in [0, 1]; None where the screen has gone on."""
        reply = await self._request("GET", path)
        if reply.status_code != 200:
            return None
        pixels = np.array(Image.open(io.BytesIO(reply.content)).convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255

    def _answer(self, step: str, page: str, pictures: Mapping[str, torch.Tensor | None]) -> dict[str, str]:
        name, kind = step.split(".")[1:3]
        if kind == "consented":
            return {"agrees": "yes"}
        if name in ("steer", "compare"):
            return {"position": str(self._pick(page, pictures))}
        if name == "write":
            return {"prompt": self._words(), "seed": str(self._rng.integers(1000)), "guidance": "4"}
        if name == "headline":
            return {"prompt": f"Say it in {self._rng.integers(3, 30)} syllables."}
        if name == "rate":
            return self._rate(page, pictures)
        return {"remarks": ""} if kind == "remarked" else {}

    def _pick(self, page: str, pictures: Mapping[str, torch.Tensor | None]) -> int:
        """A position; who holds an image weighs it as such."""
        items = sorted(item for item in pictures if item != "goal")
        similarities, order = self._similarities(pictures, items), list(range(len(items)))
        if held := re.search(r'value="(\d+)" class="option held"', page):
            order.insert(0, order.pop(int(held[1])))
        draws = torch.from_numpy(self._rng.random((1, len(items)), dtype=np.float32))
        choice = self._human.choose(similarities[order][None], draws, torch.from_numpy(self._rng.random(1)).float())
        return order[int(choice[0])]

    def _similarities(self, pictures: Mapping[str, torch.Tensor | None], items: Sequence[str]) -> torch.Tensor:
        shown = [pictures.get(item) for item in ("goal", *items)]
        if any(picture is None for picture in shown):
            return torch.zeros(len(items))
        with torch.inference_mode():
            goal, *others = self._metric.embed(torch.stack([picture for picture in shown if picture is not None]))
            return self._metric.similarity(torch.stack(others), goal)

    def _words(self) -> str:
        factors = tilings.sample_factors(1, self._rng)[0]
        named = self._rng.random(len(tilings.FACTORS)) < 0.5
        named[0] = True
        return tilings.caption(factors, named, tilings.CASUAL, self._rng)

    def _rate(self, page: str, pictures: Mapping[str, torch.Tensor | None]) -> dict[str, str]:
        most: dict[str, int] = {}
        for name, value in _RANGE.findall(page):
            most[name] = max(most.get(name, 0), int(value))
        similarities = self._similarities(pictures, [name.removeprefix("value-") for name in most])
        shares = similarities.clamp(0, 1).tolist()
        return {
            name: str(1 + round(share * (top - 1))) for (name, top), share in zip(most.items(), shares, strict=True)
        }


async def send(options: BotsOptions, metric: Any = "tile-perceptual") -> list[Played]:
    """Let bots take part, who choose by a metric."""
    chooser, similarity, people = load_human(options.human), load_metric(metric), options.people
    leaves = np.random.default_rng([0xD409, options.seed]).permutation(people) < round(options.drop * people)
    turn, played = asyncio.Semaphore(options.at_once), []
    limits = httpx.Limits(max_connections=options.at_once, max_keepalive_connections=options.at_once)
    async with httpx.AsyncClient(base_url=options.url, timeout=60, limits=limits, trust_env=False) as client:

        async def one(number: int) -> None:
            async with turn:
                played.append(await Bot(client, number, options, chooser, similarity, bool(leaves[number])).play())

        await asyncio.gather(*(one(number) for number in range(people)))
    return played


def waits_table(played: Sequence[Played]) -> pd.DataFrame:
    """Seconds from an answer to the next screen with its images."""
    waits = np.array([wait for each in played for wait in each.waits] or [np.nan])
    row = {
        "bots": len(played),
        "left": sum(each.left for each in played),
        "answers": sum(len(each.answers) for each in played),
        **{f"wait p{share} (s)": round(float(np.percentile(waits, share)), 2) for share in (50, 95)},
    }
    return pd.DataFrame([row])


def run_bots(options: PeopleOptions, run: Run) -> dict[str, Any]:
    """Let bots take part, and report how long they waited."""
    bots = options.bots
    run.open()
    start = time.monotonic()
    played = asyncio.run(send(bots, asdict(options.metric)))
    seconds, waits = time.monotonic() - start, waits_table(played)
    say(f"{len(played)} bots took {seconds:.0f} s")
    text = "From an answer to the next screen with all of its images loaded, where there are any."
    lead = f"{bots.people} bots, {bots.at_once} at a time."
    run.publish(Report("Bots", lead, [Section("Waits", text, [waits])]))
    shown = {str(name): value for name, value in waits.iloc[0].items()}
    return {"bots": len(played), "seconds": round(seconds, 1), **shown}
