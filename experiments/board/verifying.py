"""Playing an entry: fresh tasks and noise, three users, a second metric, and a report that says all of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments.board.entries import TRACKS, Entry
from steer_env.evaluation.rollout import make_env
from steer_env.evaluation.suites import evaluate
from steer_env.evaluation.uncertainty import estimate
from steer_env.files import seal, write_atomically
from steer_env.fingerprints import fingerprint
from steer_env.imaging.bank import Made
from steer_env.imaging.studio import LocalStudio
from steer_env.mechanisms import load_mechanism
from steer_env.policies import StoredPolicy
from steer_env.policies.names import load_policy
from steer_env.registry import parse_spec
from steer_env.tasks import TileSuite, load_suite
from steer_env.traces import SteeringTrace
from steer_env.types import Conditioning, Picture
from steer_env.versions import VERSIONS

USERS: Mapping[str, str] = {
    "greedy": "greedy",
    "hesitant": "hesitant:threshold=0.015",
    "noisy": "softmax:temperature=0.05",
}
"""The paper's, one who stays as often as people do, and one who errs."""
JUDGE = "pixel-correlation"
ANCHORS: Mapping[str, tuple[str, str]] = {
    "random": ("random-bucket", "mixture"),
    "schedule": ("schedule:1.0-1.0-0.8-0.6", "mixture"),
    "luck": ("random-bucket", "fresh"),
}
"""Policy and mechanism that are played on the same tasks with the same noise, so that reports of different tasks can be
compared: random scales, the best schedule, and the best of as many fresh images."""
TASKS_PER_BATCH = 16
STRIPS = 3
Played = dict[str, list[SteeringTrace]]
"""Episodes of each user."""


def verify(entries: Sequence[Entry], reports: Path, tasks: int, private: str = "") -> list[str]:
    """Play entries on one draw of so many tasks and of noise, and write a report of each; names of what was verified.

    On a private file of tasks, if there is one, they are played, too. An entry with a report is refused: it would only
    have another try.
    """
    for entry in entries:
        if (reports / f"{entry.identity}.json").exists():
            raise FileExistsError(f"{entry.name!r} was verified before, see {reports}/{entry.identity}.json")
    if not entries:
        return []
    drawn = {"tasks": secrets.randbits(48), "noise": 1 + secrets.randbits(31)}
    with TemporaryDirectory() as place:
        suite = Path(place) / "tasks.csv"
        write_atomically(suite, fresh_tasks(drawn["tasks"], tasks))
        public = Arena(f"csv:{suite}", tasks, drawn["noise"])
        hidden = Arena(f"csv:{private}", 0, drawn["noise"]) if private else None
        for entry in entries:
            _write(entry, reports, drawn, public, hidden)
    return [f"{entry.name} ({entry.track})" for entry in entries]


class Remembering(LocalStudio):
    """Makes no image twice: entries and users who come to the same latent for the same prompt share its embeddings."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._known: dict[str, dict[str, Tensor]] = {}

    def picture(
        self,
        latents: Tensor,
        conditioning: Conditioning,
        place: str,
        rows: Tensor | None = None,
        keep_images: bool = False,
        metrics: Sequence[str] | None = None,
        pictures: Sequence[Picture] | None = None,
        preview_steps: int = 0,
    ) -> Made:
        """See :class:`steer_env.types.Studio`."""
        if keep_images or preview_steps:
            return super().picture(latents, conditioning, place, rows, keep_images, metrics, pictures, preview_steps)
        names = list(self.metrics if metrics is None else metrics)
        rows = torch.arange(len(latents)) if rows is None else rows.cpu()
        prompts = [
            fingerprint({name: values[row] for name, values in conditioning.items()})
            for row in range(int(rows.max()) + 1)
        ]
        keys = [fingerprint({"latent": z}) + prompts[row] for z, row in zip(latents, rows.tolist(), strict=True)]
        known = [self._known.setdefault(key, {}) for key in keys]
        lacking = {key: i for i, key in enumerate(keys) if not set(names) <= known[i].keys()}
        if lacking:
            where = torch.tensor(list(lacking.values()))
            made, _ = super().picture(latents[where], conditioning, place, rows[where], metrics=names)
            for i, *values in zip(where.tolist(), *made.values(), strict=True):
                known[i].update(zip(made, values, strict=True))
        return {name: torch.stack([each[name] for each in known]) for name in names}, None


class Arena:
    """Tasks and noise that entries are played on, with what they share: images, pools of hypotheses, and the anchors.

    Args:
        suite, tasks, noise: the tasks; how many of them, 0 for all; and the number of the noise.

    Attributes:
        studio: makes the images; its ``images`` counts them.
    """

    def __init__(self, suite: str, tasks: int, noise: int) -> None:
        from steer_env.mechanisms.hypotheses import Hypotheses

        self.suite, self.tasks, self._noise = suite, tasks or len(load_suite(suite)), noise
        parts = make_env(1, suite=suite, judges=[JUDGE]).dynamics.studio
        self.studio = Remembering(parts.generator, parts.metric, {JUDGE: parts.metrics[JUDGE]})
        # Pools of a whole suite are small: an embedding has 64 numbers.
        self._pools = Hypotheses(self.studio, [parts.metric], kept=4 * self.tasks)

    @cached_property
    def anchors(self) -> Mapping[str, Played]:
        """By name of :data:`ANCHORS`."""
        return {name: self._users(load_policy(policy), mechanism) for name, (policy, mechanism) in ANCHORS.items()}

    def play(self, entry: Entry) -> Played:
        """An entry's episodes; a prompter is its own user."""
        mechanism = TRACKS[entry.track].mechanism
        return self._users(entry.policy, mechanism) if mechanism else {"greedy": self._episodes(entry.policy, "greedy")}

    def _users(self, policy: Any, mechanism: str) -> Played:
        made: Any = mechanism
        if parse_spec(mechanism)[0] in ("bayesian", "learned", "feedback"):
            made = load_mechanism(mechanism, self.studio, hypotheses=self._pools)
        return {user: self._episodes(policy, human, made) for user, human in USERS.items()}

    def _episodes(self, policy: Any, human: str, mechanism: Any = "mixture") -> list[SteeringTrace]:
        batches = evaluate(
            [policy],
            self.tasks,
            TASKS_PER_BATCH,
            noise=self._noise,
            suite=self.suite,
            mechanism=mechanism,
            human=human,
            judges=[JUDGE],
            studio=lambda *_: self.studio,
        )
        return [trace for batch in batches for trace in batch]


def fresh_tasks(seed: int, tasks: int) -> str:
    """Tasks that no submission has seen, from a seed that the report tells: CSV as CSVSuite reads it."""
    drawn = pd.DataFrame(map(vars, TileSuite("fresh", "test", tasks, seed)))
    columns = ["goal_prompt", "prompt", "goal_seed", "initial_seed"]
    return drawn[columns].to_csv(index=False, lineterminator="\r\n")


def _write(entry: Entry, reports: Path, drawn: Mapping[str, int], public: Arena, hidden: Arena | None) -> None:
    played = public.play(entry)
    own = played["greedy"]
    policy = entry.policy
    report: dict[str, Any] = {
        "identity": entry.identity,
        "track": entry.track,
        "name": entry.name,
        "reference": entry.card is None,
        "card": entry.card,
        "policy": policy.record() if isinstance(policy, StoredPolicy) else None,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "drawn": dict(drawn),
        "tasks": public.tasks,
        "generator": own[0].generator,
        "metric": own[0].metric,
        "mechanism": own[0].mechanism,
        "versions": dict(VERSIONS),
        "users": numbers(played, public.anchors),
        "private": numbers(hidden.play(entry), hidden.anchors) if hidden else None,
        "gains": [round(trace.improvement, 5) for trace in own],
        "images": _mean([trace.images for trace in own]),
        "passes": _mean([trace.passes for trace in own]),
        "attempts": np.mean([trace.similarities for trace in own], axis=0).round(5).tolist(),
    }
    _draw(entry, own, public.suite, reports)
    # Last: what has a report isn't played again.
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in {**report, "seal": seal(report)}.items()]
    write_atomically(reports / f"{entry.identity}.json", "{" + ",\n ".join(lines) + "}\n")


def numbers(played: Played, anchors: Mapping[str, Played]) -> dict[str, dict[str, Any]]:
    """By user, means with standard errors over tasks.

    The change, its difference to each anchor's, the share that improves, and the change by the second metric.
    """
    reports = {}
    for user, own in played.items():
        gains = _gains(own)
        measured = {"gain": gains, "improved": (gains > 0).astype(float)}
        measured |= {f"over_{name}": gains - _gains(anchor[user]) for name, anchor in anchors.items()}
        measured[JUDGE] = np.array([trace.judged[JUDGE][-1] - trace.judged[JUDGE][0] for trace in own])
        means = {name: estimate(values) for name, values in measured.items()}
        reports[user] = {"human": own[0].human} | {name: [each.value, each.error] for name, each in means.items()}
    return reports


def _gains(traces: Sequence[SteeringTrace]) -> np.ndarray:
    return np.array([trace.improvement for trace in traces])


def _mean(values: Sequence[float | None]) -> float | None:
    return None if None in values else float(np.mean(np.array(values)))


def _draw(entry: Entry, traces: Sequence[SteeringTrace], suite: str, reports: Path) -> None:
    from experiments.run.playing import draw_examples

    options = {"suite": suite, "rounds": 4}
    if TRACKS[entry.track].mechanism:
        options["mechanism"] = TRACKS[entry.track].mechanism
    for number, figure in enumerate(draw_examples(traces, traces[0].policy, STRIPS, options)):
        save = partial(figure.savefig, format="webp", dpi=70, pil_kwargs={"quality": 80})
        write_atomically(reports / "strips" / f"{entry.identity[:16]}-{number}.webp", save)
