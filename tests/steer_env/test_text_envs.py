"""Text steering as a Gymnasium environment; what it shares with image steering is tested there."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from steer_env.envs import TextSteeringEnv, TextSteeringVectorEnv
from steer_env.envs.base import FIRST_SEED
from steer_env.envs.text import CHARACTERS
from steer_env.generators import load_generator
from steer_env.proposals import draw_latents
from steer_env.tasks import load_suite
from steer_env.tiles.drawn import DrawnTiles
from steer_env.types import Generator, GuidedGenerator
from tests.conftest import CountingGenerator
from tests.steer_env.test_envs import equals_gymnasiums_own_vector, same

ID = "steer_env/TextSteering-v0"
EVERYTHING: dict[str, Any] = {"observe": ("prompt", "image", "embedding", "latent"), "judges": ("pixel-correlation",)}
PROMPTS = ["nine red stars", "one small blue ring, on a white background", "tiles", "pink box, no border"]


@pytest.mark.parametrize("options", [{}, {**EVERYTHING, "reward": "increment"}])
def test_check_env_passes_without_a_warning(options: dict[str, Any]) -> None:
    env = gym.make(ID, render_mode="rgb_array", max_length=200, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_specs_are_json_and_can_be_made_again() -> None:
    spec = gym.make(ID, rounds=3, max_length=77).spec
    assert spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(spec.to_json()))
    assert again.unwrapped.dynamics.num_rounds == 3
    assert again.action_space.max_length == 77


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_a_batch_equals_gymnasiums_own_vector_of_single_environments(mode: AutoresetMode) -> None:
    def draw(rng: np.random.Generator) -> tuple[str, ...]:
        return tuple(PROMPTS[i] for i in rng.integers(0, len(PROMPTS), 3))

    equals_gymnasiums_own_vector(ID, mode, draw, **EVERYTHING)


def test_an_episode_has_five_attempts_and_improves_by_what_its_last_image_gained() -> None:
    env = TextSteeringEnv(**EVERYTHING)
    observation, info = env.reset(seed=3)
    assert env.task is not None
    assert observation["prompt"] == env.task.prompt
    similarities, rewards = [info["similarity"]], []
    for place, prompt in enumerate(PROMPTS):
        observation, reward, terminated, truncated, info = env.step(prompt)
        assert observation in env.observation_space
        assert (int(observation["round"]), observation["prompt"]) == (place + 1, prompt)
        assert (terminated, truncated) == (place == 3, False)
        assert info["similarities"].tolist() == [similarities[-1], info["similarity"]]
        assert not {"choice", "mixture_scale"} & info.keys()
        similarities.append(info["similarity"])
        rewards.append(reward)
    assert len(similarities) == 5
    assert rewards == [0, 0, 0, pytest.approx(similarities[-1] - similarities[0])]


def test_first_images_are_those_of_image_steering() -> None:
    options: dict[str, Any] = {"options": {"task_index": 4, "episode_seed": 9}}
    text, image = (gym.make(name).reset(**options)[1] for name in (ID, "steer_env/ImageSteering-v0"))
    for name in ("task_index", "episode_seed", "similarity"):
        same(text[name], image[name])


def test_observations_cannot_depend_on_the_goal() -> None:
    seen, similarities = [], []
    for goal in (0, 1):
        env = TextSteeringEnv(suite="tiles-val-v1", **EVERYTHING)
        mine, other = load_suite("tiles-val-v1")[:2]
        env.reset(seed=0)
        env.dynamics.reset([mine if goal == 0 else type(mine)(**{**vars(mine), "goal_prompt": other.goal_prompt})], [5])
        steps = [env.step(prompt) for prompt in PROMPTS]
        seen.append([step[0] for step in steps])
        similarities.append([step[4]["similarity"] for step in steps])
    for left, right in zip(*seen, strict=True):
        same(left, right)
    assert similarities[0] != similarities[1]


def test_next_step_autoreset_generates_nothing_for_the_ignored_prompt(counting_generator: CountingGenerator) -> None:
    env = TextSteeringVectorEnv(2, generator=counting_generator, rounds=1)
    env.reset(seed=0)
    env.step(("tiles", "stars"))
    made = len(counting_generator.latents)
    _, rewards, terminated, _, _ = env.step(("", ""))
    assert len(counting_generator.latents) == made + 4
    assert rewards.tolist() == [0, 0]
    assert not terminated.any()


def test_frames_show_goal_image_before_and_new_image() -> None:
    env = TextSteeringEnv(render_mode="rgb_array")
    env.reset(seed=1)
    frames = [env.render()]
    for prompt in PROMPTS:
        env.step(prompt)
        frames.append(env.render())
    assert len({frame.shape for frame in frames}) == 1
    assert all((frame == (20, 150, 60)).all(axis=2).any() for frame in frames[1:]), "the new image is marked"


def test_what_people_type_is_in_the_action_space() -> None:
    space = TextSteeringEnv().action_space
    assert "Öl auf Leinwand – “naïve”, 35 mm; f/1.8 (très détaillé…), 50% grey & #1!" in space
    assert "красная плитка" in space
    assert len(set(CHARACTERS)) == len(CHARACTERS)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "a prompt must not be empty"),
        ("x" * 201, "a prompt has 201 characters, max_length allows 200: 'xxx"),
        ("a\x00b", r"prompt 'a\\x00b' holds '\\x00'; allowed are"),
        (3, "prompts are strings, got 3"),
        (None, "prompts are strings, got None"),
    ],
)
def test_bad_prompts_cost_nothing(prompt: Any, message: str, counting_generator: CountingGenerator) -> None:
    env = TextSteeringEnv(generator=counting_generator, max_length=200)
    env.reset(seed=0)
    made = len(counting_generator.latents)
    with pytest.raises(ValueError, match=message):
        env.step(prompt)
    assert len(counting_generator.latents) == made
    assert env.step("tiles")[0].argmax() == 1


def test_a_model_with_few_seeds_has_no_others(counting_generator: CountingGenerator) -> None:
    env = TextSteeringVectorEnv(8, seeds=2, rounds=3, generator=counting_generator, autoreset_mode="Disabled")
    env.reset(seed=0)
    for prompt in PROMPTS[:3]:
        env.step([prompt] * 8)
    allowed = draw_latents([FIRST_SEED, FIRST_SEED + 1], counting_generator.latent_shape)
    used = [
        min(range(2), key=lambda i: float((latent - allowed[i]).abs().max())) for latent in counting_generator.latents
    ]
    assert all(torch.equal(latent, allowed[i]) for latent, i in zip(counting_generator.latents, used, strict=True))
    tasks = [task for task in env.dynamics.tasks if task]
    assert {task.goal_seed for task in tasks} == {FIRST_SEED}
    assert {task.initial_seed for task in tasks} == {FIRST_SEED, FIRST_SEED + 1}
    assert set(used[-24:]) == {0, 1}
    assert env.mechanism_id == "text seeds=2"


def test_with_one_seed_the_goals_prompt_gives_the_goal() -> None:
    env = TextSteeringVectorEnv(3, seeds=1, rounds=1)
    env.reset(seed=4)
    *_, infos = env.step([task.goal_prompt for task in env.dynamics.tasks if task])
    np.testing.assert_allclose(infos["similarity"], 1, atol=1e-5)


BOTH: dict[str, Any] = {"choose": ("seed", "guidance")}


def test_check_env_passes_where_users_choose_more_than_words() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(ID, render_mode="rgb_array", max_length=200, **BOTH).unwrapped)


def test_a_chosen_seed_is_that_of_the_latent_and_a_chosen_guidance_that_of_the_pipeline() -> None:
    env = TextSteeringEnv(rounds=2, observe=("image",), **BOTH)
    env.reset(seed=0)
    for seed, guidance in ((7, 3.0), (8, 1.0)):
        action = {"prompt": "nine red stars", "seed": seed, "guidance": guidance}
        observation, *_ = env.step(action)
        generator = load_generator("tiles", guidance_scale=guidance)
        expected = generator.generate(
            draw_latents([seed], generator.latent_shape), generator.encode(["nine red stars"])
        )
        np.testing.assert_allclose(observation["image"], expected[0].numpy() * 255, atol=0.6)


def test_guidance_of_one_is_none_whatever_its_neighbours_choose(generator: Generator) -> None:
    latents = draw_latents([1, 2], generator.latent_shape)
    alone = generator.generate(latents[:1], generator.encode(["stars"]))
    assert isinstance(generator, GuidedGenerator)
    beside = generator.generate(latents, generator.encode_guided(["stars", "stars"], [1.0, 6.0]))
    torch.testing.assert_close(beside[:1], alone, atol=5e-5, rtol=0)
    strong = load_generator("tiles", guidance_scale=6.0)
    expected = strong.generate(latents[1:], strong.encode(["stars"]))
    torch.testing.assert_close(beside[1:], expected, atol=5e-5, rtol=0)


def test_a_seed_is_chosen_among_those_that_the_model_has() -> None:
    env = TextSteeringVectorEnv(2, seeds=3, choose=("seed",))
    assert env.mechanism_id == "text seeds=3 choosing seed"
    env.reset(seed=0)
    env.step({"prompt": ["a", "b"], "seed": [FIRST_SEED, FIRST_SEED + 2]})
    with pytest.raises(ValueError, match=r"seed must be in Discrete\(3, start=42\), got 45"):
        env.step({"prompt": ["a", "b"], "seed": [FIRST_SEED, FIRST_SEED + 3]})


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("stars", "an action is a dict of guidance, prompt, seed, got"),
        ({"prompt": "stars", "seed": 1}, r"dict of guidance, prompt, seed, got \['prompt', 'seed'\]"),
        ({"prompt": "stars", "seed": 1.5, "guidance": 2.0}, r"seed must be in Discrete\(2147483648\), got 1.5"),
        ({"prompt": "stars", "seed": -1, "guidance": 2.0}, "seed must be in .*, got -1"),
        ({"prompt": "stars", "seed": 1, "guidance": 0.5}, "guidance must be in .*, got 0.5"),
        ({"prompt": "stars", "seed": 1, "guidance": float("nan")}, "guidance must be in .*, got nan"),
        ({"prompt": "stars", "seed": 1, "guidance": "2"}, "guidance must be in .*, got '2'"),
        ({"prompt": "", "seed": 1, "guidance": 2.0}, "a prompt must not be empty"),
    ],
)
def test_bad_settings_cost_nothing(action: Any, message: str, generator: Generator) -> None:
    env = TextSteeringEnv(**BOTH)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.step({"prompt": "tiles", "seed": 1, "guidance": 2})[0].argmax() == 1


def test_what_can_not_be_chosen() -> None:
    with pytest.raises(ValueError, match=r"unknown setting 'sampler'; .*There are: seed, guidance"):
        TextSteeringEnv(choose=("sampler",))
    drawn = DrawnTiles((3, 48, 48), (4, 12, 12))
    with pytest.raises(ValueError, match="can't choose the guidance of generator drawn tiles"):
        TextSteeringEnv(generator=drawn, choose=("guidance",))
    env = TextSteeringVectorEnv(2, choose=("seed",))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="2 environments need as many seeds, got 1"):
        env.step({"prompt": ["a", "b"], "seed": [1]})


def test_other_bad_arguments() -> None:
    with pytest.raises(ValueError, match="max_length must be from 1 to 1000000, got 0"):
        TextSteeringEnv(max_length=0)
    with pytest.raises(ValueError, match=r"unknown observation 'stayed'; .*There are: prompt, image"):
        TextSteeringEnv(observe=("stayed",))
    env = TextSteeringVectorEnv(3)
    with pytest.raises(RuntimeError, match="call reset before"):
        env.step(("a", "b", "c"))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="3 environments need as many prompts, got 2"):
        env.step(("a", "b"))
    with pytest.raises(ValueError, match="3 environments need as many prompts, got 'abc'"):
        env.step("abc")
    with pytest.raises(ValueError, match="characters, max_length allows 3"):
        TextSteeringEnv(max_length=3).reset()
