"""Properties of the parts that everything rests on, for values that hypothesis draws."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from experiments.run.options import choices, groups_of
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.uncertainty import estimate, row_error
from steer_env.files import DamagedError, printable, read_json, read_sealed, seal, write_atomically
from steer_env.imaging.studio import LocalStudio
from steer_env.policies import HistoryPolicy, TablePolicy, read_policy
from steer_env.policies.cards import PolicyCard, TrainingRecord
from steer_env.redaction import redacted
from steer_env.registry import parse_spec
from steer_env.traces import SteeringTrace, read_improvements, read_traces, write_traces
from steer_env.types import Metric

quick = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
NUMBERS = st.floats(-1, 1)


class Blots:
    """A generator of blurred latents, deterministic and instant."""

    id, latent_shape, image_shape, device = "blots", (1, 4, 4), (3, 8, 8), torch.device("cpu")
    passes = 1

    def __init__(self, max_batch: int) -> None:
        self.max_batch = max_batch

    def encode(self, prompts: Sequence[str]) -> Mapping[str, Tensor]:
        return {"shade": torch.tensor([[sum(map(ord, prompt)) % 97 / 97] for prompt in prompts])}

    def generate(self, latents: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        assert len(latents) <= self.max_batch
        images = torch.nn.functional.interpolate(latents.float(), size=(8, 8)) + conditioning["shade"][:, :, None, None]
        return torch.sigmoid(images).expand(-1, 3, -1, -1)


class Blotches(Metric):
    """Cosine of the pictures' own pixels."""

    id, dimensions = "blotches", 192

    def embed(self, images: Tensor) -> Tensor:
        return torch.nn.functional.normalize(images.flatten(1) - 0.5, dim=1)


@given(data=st.data())
@settings(quick, max_examples=40)
def test_an_episode_is_its_own_whatever_the_batch(data: st.DataObject) -> None:
    """Any actions, resets in the middle, R, K, N, shard, reward and observation: as if each were played alone."""
    n, rounds, proposals = (data.draw(st.integers(1, most)) for most in (4, 4, 3))
    reward = data.draw(st.sampled_from(["final", "increment"]))
    observe = data.draw(st.lists(st.sampled_from(["image", "embedding", "latent"]), unique=True))
    human = data.draw(st.sampled_from(["greedy", "softmax", "hesitant"]))

    def env(places: int) -> ImageSteeringVectorEnv:
        return ImageSteeringVectorEnv(
            places,
            human=human,
            proposals=proposals,
            rounds=rounds,
            reward=reward,
            observe=observe,
            named=True,
            generator=Blots(data.draw(st.integers(1, 9))),
            metric=Blotches(),
            autoreset_mode=AutoresetMode.DISABLED,
        )

    tasks = data.draw(st.lists(st.integers(0, 50), min_size=n, max_size=n))
    seeds = data.draw(st.lists(st.integers(0, 2**31 - 1), min_size=n, max_size=n))
    options: dict[str, Any] = {"task_index": tasks, "episode_seed": seeds}
    together, actions = (
        env(n),
        np.array(data.draw(st.lists(st.integers(0, 9), min_size=n * rounds, max_size=n * rounds))),
    )
    actions = actions.reshape(rounds, n)
    together.reset(options={**options, "task_index": tasks[::-1]})
    for played in range(data.draw(st.integers(0, rounds - 1))):
        together.step(actions[played])
    observation, _ = together.reset(options=options)
    total = np.zeros(n)
    for place in range(rounds):
        assert together.observation_space.contains(observation)
        observation, rewards, over, cut, infos = together.step(actions[place])
        total += rewards
        assert over.tolist() == [place == rounds - 1] * n
        assert not cut.any()
    assert infos["improvement"] == pytest.approx(total, abs=1e-6)
    for row in range(n):
        alone = env(1)
        alone.reset(options={"task_index": tasks[row : row + 1], "episode_seed": seeds[row : row + 1]})
        for place in range(rounds):
            seen, *_ = alone.step(actions[place, row : row + 1])
        for name, values in seen.items():
            np.testing.assert_allclose(values[0], observation[name][row], atol=2e-6 if name != "image" else 1)


def test_studios_cut_batches_anyhow() -> None:
    """The studio's own shards, which a Ray studio sets, change nothing."""
    found = []
    for shard in (1, 2, 5):
        studio = LocalStudio(Blots(9), Blotches(), shard=shard)
        latents = torch.randn(7, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        embeddings, _ = studio.picture(latents, studio.generator.encode(["a"] * 7), "here")
        found.append(embeddings[""])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=2e-6, rtol=0)


@st.composite
def traces(draw: st.DrawFn) -> SteeringTrace:
    rounds = draw(st.integers(0, 4))
    numbers = st.lists(NUMBERS, min_size=rounds + 1, max_size=rounds + 1)
    return SteeringTrace(
        suite=draw(TEXT),
        task_index=draw(st.integers(0, 2**62)),
        goal_prompt=draw(TEXT),
        goal_seed=draw(st.integers(0, 2**63 - 1)),
        prompt=draw(TEXT),
        initial_seed=draw(st.integers(0, 2**63 - 1)),
        mechanism="m",
        policy=draw(TEXT),
        human="h",
        generator="g",
        metric="m",
        similarities=draw(numbers),
        scales=draw(st.lists(st.floats(0, 1), max_size=4)),
        choices=draw(st.lists(st.integers(0, 3), max_size=4)),
        judged=draw(st.dictionaries(TEXT, numbers, max_size=3)),
        prompts=draw(st.lists(TEXT, max_size=3)),
        images=draw(st.none() | st.integers(0, 100)),
        versions=draw(st.dictionaries(TEXT, TEXT, max_size=3)),
    )


@given(rows=st.lists(traces(), min_size=1, max_size=4), cut=st.integers(0, 4))
@settings(quick, max_examples=30)
def test_traces_are_read_as_they_were_written_in_however_many_files(rows: list[SteeringTrace], cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, part in enumerate((rows[:cut], rows[cut:])):
            if part:
                write_traces(part, folder / f"{place}.parquet")
        assert read_traces(folder) == rows
        assert read_improvements(folder, len(rows)).tolist() == [trace.improvement for trace in rows]


SCALES = st.floats(0, 1)
TABLES = st.lists(st.tuples(SCALES, SCALES), min_size=1, max_size=12).map(np.array)
HISTORIES = st.integers(1, 4).flatmap(
    lambda r: st.tuples(*(st.lists(SCALES, min_size=2**i, max_size=2**i) for i in range(r)))
)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9 ]{0,20}[a-z0-9]", fullmatch=True).filter(lambda name: "  " not in name)
SETTINGS = st.dictionaries(
    NAMES, st.none() | st.booleans() | st.integers(-(2**40), 2**40) | NUMBERS | NAMES, max_size=4
)


@given(name=NAMES, seed=st.integers(-1, 2**63 - 1), scales=TABLES | HISTORIES, kept=SETTINGS)
@settings(quick, max_examples=40)
def test_a_policy_is_read_as_it_was_saved(name: str, seed: int, scales: Any, kept: dict[str, Any]) -> None:
    card = PolicyCard(TrainingRecord("tiles-train-v1", 8, kept, {"numpy": "2"}))
    kind: Any = TablePolicy if isinstance(scales, np.ndarray) else HistoryPolicy
    policy = kind(name, scales, seed, card)
    with tempfile.TemporaryDirectory() as folder:
        policy.save(Path(folder))
        again = read_policy(Path(folder))
    assert (again.name, again.training_seed, again.rows, again.card) == (name, seed, policy.rows, card)
    assert again.content() == policy.content()
    assert again.is_like(policy)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(record=st.dictionaries(TEXT.filter(lambda name: name != "seal"), JSON, max_size=4), place=st.floats(0, 0.999))
@settings(quick, max_examples=60)
def test_a_seal_vouches_for_a_record(record: dict[str, Any], place: float) -> None:
    import json

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "record.json"
        write_atomically(path, json.dumps({**record, "seal": seal(record)}, indent=1))
        assert read_sealed(path) == {**read_json(path)}
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1
        path.write_bytes(content)
        refusal, read = "", {}
        try:
            read = read_sealed(path)
        except DamagedError as error:
            refusal = str(error)
        assert str(path) in refusal or {key: value for key, value in read.items() if key != "seal"} == record


@given(text=st.text(max_size=60))
def test_what_is_printed_is_one_line_and_striking_out_is_final(text: str) -> None:
    assert printable(text).isprintable()
    assert redacted(redacted(text)) == redacted(text)


@given(
    name=NAMES,
    values=st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers() | st.booleans(), max_size=4),
)
def test_a_spec_says_what_its_mapping_says(name: str, values: dict[str, Any]) -> None:
    word = ":".join([name, ",".join(f"{key}={str(value).lower()}" for key, value in values.items())]).rstrip(":")
    assert parse_spec(word) == (name.strip(), values) == parse_spec({"name": name.strip(), **values})


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=30).filter(lambda values: np.std(values) > 1e-6))
@settings(quick, max_examples=50)
def test_means_and_errors_are_scipys(values: list[float]) -> None:
    found = estimate(np.array(values))
    assert found.value == pytest.approx(np.mean(values), abs=1e-9)
    assert found.error == pytest.approx(stats.sem(values), rel=1e-6)
    assert row_error(np.array(values)) == pytest.approx(stats.sem(values), rel=1e-6)
    assert math.isfinite(found.p_value)


@pytest.mark.slow
def test_every_choice_of_every_group_composes() -> None:
    """Whether a choice runs, or is refused in one line, is tried by experiments.attack."""
    from hydra import compose, initialize_config_dir

    from experiments.attack.wrong import commands, options_of
    from experiments.run.options import CONF

    tried: set[tuple[str, str]] = set()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for command in commands():
            # A group has the same choices everywhere; those of several groups compose at once.
            groups = groups_of(options_of(command))
            for row in zip_longest(*([(group, name) for name in choices(group)] for group in groups)):
                if new := {pair for pair in row if pair} - tried:
                    config = compose(command, [f"{group}={name}" for group, name in new])
                    assert {group for group, _ in new} <= config.keys()
                    tried |= new
    assert len(tried) > 35
