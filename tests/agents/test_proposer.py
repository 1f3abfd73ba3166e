"""Agents that offer directions of a codebook, by what they know of their images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason='needs pip install "steer-env[onnx]"')
pytest.importorskip("onnxruntime", reason='needs pip install "steer-env[onnx]"')
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from agents.episodes import Training
from agents.exports import exported
from agents.proposer import NEEDS, Proposer, ProposerShape, Turn, greedily
from agents.sb3 import check_warm_start, train_sb3
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.files import file_hash
from steer_env.sb3 import SteeringVecEnv

SIZE = 1152
ACTION = f"directions:dimensions={SIZE},leash=0.99"
ROLLOUT: dict[str, Any] = {"n_steps": 4, "batch_size": 8, "n_epochs": 1}


def batch(action: str = ACTION, observe: tuple[str, ...] = NEEDS) -> ImageSteeringVectorEnv:
    return ImageSteeringVectorEnv(
        *(2, "greedy"), action=action, observe=observe, reward="increment", autoreset_mode=AutoresetMode.DISABLED
    )


@pytest.fixture(scope="module")
def env() -> ImageSteeringVectorEnv:
    return batch()


@pytest.fixture(scope="module")
def warm_start(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    codes = torch.nn.functional.normalize(torch.randn(12, SIZE), dim=1)
    file = tmp_path_factory.mktemp("proposer") / "small.safetensors"
    Proposer(ProposerShape(12, SIZE, 128, 96, 4, 0.99, (0.8, 1.0), code=8, width=16), codes).save(file)
    return str(file)


def worlds(turn_of: list[Tensor], choices: list[int], proposer: Proposer) -> Turn:
    """A turn after rounds with these screens and choices."""
    seen = {
        "round": torch.eye(5)[None, len(choices)],
        "conditioning": torch.zeros(1, 128),
        "embedding": turn_of[-1][None, choices[-1]] if choices else torch.zeros(1, 96),
        "shown": torch.zeros(1, 4, 3, 96),
        "chosen": torch.zeros(1, 4, 3),
        "played": torch.zeros(1, 4),
    }
    for place, (screen, choice) in enumerate(zip(turn_of, choices, strict=True)):
        seen["shown"][0, place], seen["played"][0, place] = screen, 1
        seen["chosen"][0, place, choice] = 1
    return Turn(proposer, seen)


def test_belief_goes_to_what_is_like_the_choice_and_nothing_is_offered_twice(warm_start: str) -> None:
    proposer = Proposer.load(warm_start)
    with torch.no_grad():
        # Images as unlike as they can be, that are known without doubt.
        proposer.expect = lambda conditioning, places=None: torch.eye(96)[None, :12]  # type: ignore[method-assign]
        first, _, entropy = worlds([], [], proposer).offer(greedily, 2)
        assert 0 < float(entropy) <= 2 * np.log(14)
        screen = torch.stack([torch.eye(96)[50], *torch.eye(96)[first[0]]])
        turn = worlds([screen], [2], proposer)
        assert int(turn.belief.argmax()) == int(first[0, 1])
        places, logs, _ = turn.offer(greedily, 2)
        assert not set(places[0].tolist()) & set(first[0].tolist())
        _, given, _ = turn.offer(lambda number, scores: places[:, number], 2)
        assert torch.equal(given, logs)
        # Where the mixture gives more hope it is offered, as often as there are proposals.
        proposer.hope[1, 0] = 2
        hopeful, _, _ = worlds([screen], [2], proposer).offer(greedily, 2)
        assert hopeful.tolist() == [[12, 12]]
        assert proposer.offers()[12, :2].tolist() == pytest.approx([0.6, 0])


def test_training_goes_on_from_the_warm_start_and_the_export_is_the_policy(
    env: ImageSteeringVectorEnv, warm_start: str, tmp_path: Path
) -> None:
    training = Training(4, 3)
    policy = train_sb3("ppo", ROLLOUT, env, training, tmp_path, "mine", warm_start=warm_start)
    again = train_sb3("ppo", ROLLOUT, env, training, tmp_path, "mine", warm_start=warm_start)
    assert policy is not None
    assert again is not None
    assert again.content() == policy.content()
    assert policy.action == ACTION
    wrapped = VecNormalize(SteeringVecEnv(env), norm_obs=False)
    known = {"warm_start": check_warm_start(warm_start, "ppo", env).again, "parts": env.part_shapes}
    from agents.proposer import ProposerPolicy

    model = PPO(ProposerPolicy, wrapped, policy_kwargs=known, device="cpu", **ROLLOUT)
    network: Any = exported(model, wrapped, ACTION, NEEDS, "mine", 0)
    seen = np.random.default_rng(0).uniform(-1, 1, (200, *wrapped.observation_space.shape)).astype(np.float32)
    seen[:, :5] = np.eye(5)[np.arange(200) % 4]
    found = np.concatenate([network._run({"observation": row[None]}, 0) for row in seen])
    expected, _ = model.predict(seen, deterministic=True)
    assert (np.abs(found - expected).max(axis=(1, 2)) < 1e-5).mean() > 0.99  # but for ties
    assert len(np.unique(expected[:, 0, 1])) > 2


def test_a_training_names_the_weights_that_it_began_with_not_those_that_took_their_place(
    env: ImageSteeringVectorEnv, warm_start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(Path(warm_start).read_bytes())
    load = Proposer.load

    def load_and_replace(path: str) -> Proposer:
        loaded = load(path)
        file.write_bytes(b"another")
        return loaded

    monkeypatch.setattr(Proposer, "load", load_and_replace)
    train_sb3("ppo", ROLLOUT, env, Training(2, 3), tmp_path / "run", "mine", warm_start=str(file))
    began = json.loads((tmp_path / "run" / "checkpoint.json").read_text())["identity"]["warm_start"]
    assert began == file_hash(Path(warm_start))


@pytest.mark.parametrize(
    ("algorithm", "action", "observe", "message"),
    [
        ("sac", ACTION, NEEDS, "for agent=ppo and agent=a2c, not for sac"),
        ("ppo", "directions:dimensions=4", NEEDS, "env.action=directions:dimensions=1152,leash=0.99"),
        ("ppo", ACTION, NEEDS[:2], "which lacks history"),
        ("ppo", ACTION.replace("0.99", "0.5"), NEEDS, "leash=0.99 and env.rounds=4, not for"),
    ],
)
def test_a_warm_start_that_does_not_fit(
    algorithm: str, action: str, observe: tuple[str, ...], message: str, warm_start: str, env: ImageSteeringVectorEnv
) -> None:
    other = env if (action, observe) == (ACTION, NEEDS) else batch(action, observe)
    with pytest.raises(ValueError, match=message):
        check_warm_start(warm_start, algorithm, other)


@pytest.mark.parametrize("conditioning", [8, 128])
def test_a_warm_start_of_other_parts_is_refused(conditioning: int, env: ImageSteeringVectorEnv, tmp_path: Path) -> None:
    shape = ProposerShape(12, SIZE, conditioning, 8, 4, 0.99, code=8, width=16)
    Proposer(shape).save(tmp_path / "other")
    with pytest.raises(ValueError, match="is for another generator or metric: prompts and embeddings are"):
        check_warm_start(str(tmp_path / "other"), "ppo", env)


@pytest.mark.parametrize(
    ("scales", "temperature", "message"),
    [((3.0,), 0.0, "mixture scale 3.0 is out of range"), ((1.0,), torch.nan, "a weight isn't finite")],
)
def test_impossible_numbers_are_no_warm_start(
    scales: tuple[float, ...], temperature: float, message: str, tmp_path: Path
) -> None:
    proposer = Proposer(ProposerShape(12, SIZE, 128, 96, 4, 0.99, scales, code=8, width=16))
    torch.nn.init.constant_(proposer.temperature, temperature)
    proposer.save(tmp_path / "other")
    with pytest.raises(ValueError, match=message):
        Proposer.load(str(tmp_path / "other"))


def test_another_file_is_no_warm_start(env: ImageSteeringVectorEnv, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("no weights")
    with pytest.raises(ValueError, match=r"isn't a file of experiments\.proposer"):
        check_warm_start(str(tmp_path / "other"), "ppo", env)
