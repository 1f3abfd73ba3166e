import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, RecordVideo, TimeLimit
from gymnasium.wrappers import vector as vector_wrappers

import steer_env
from steer_env.envs import ImageSteeringEnv, ImageSteeringVectorEnv, SteeringVectorEnv, TextSteeringVectorEnv
from steer_env.envs.arguments import ImageArguments, TextArguments
from steer_env.tasks import load_suite
from tests.conftest import BLOTS

ID = "steer_env/ImageSteering-v0"
VECTORS = ("embedding", "latent", "conditioning", "history")
EVERYTHING = {"observe": ("image", *VECTORS), "judges": ("pixel-correlation",)}
DIRECTED = ("directions:dimensions=8,leash=0.9", "proposals")


def same(a: Any, b: Any) -> None:
    """Observations, rewards or infos that agree: integers exactly, floats to a tolerance."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            same(a[name], b[name])
    elif isinstance(a, np.ndarray) and a.dtype == object:
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif a is None or isinstance(a, (str, tuple)):
        assert a == b
    else:
        x, y = np.asarray(a), np.asarray(b)
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x.astype(float), y.astype(float), atol=1 if x.dtype == np.uint8 else 5e-5)


class TestConventions:
    @pytest.mark.parametrize(
        "options",
        [{}, {**EVERYTHING, "action": "scale", "reward": "increment"}, *({"action": name} for name in DIRECTED)],
    )
    def test_check_env_passes_without_a_warning(self, options: dict[str, Any]) -> None:
        env = gym.make(ID, render_mode="rgb_array", **options)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(env.unwrapped)

    def test_sb3_checker_passes_without_a_warning(self) -> None:
        from stable_baselines3.common.env_checker import check_env as check

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check(ImageSteeringEnv())
            check(ImageSteeringEnv(named=True))
            check(ImageSteeringEnv(observe=("image", "embedding")))
            check(ImageSteeringEnv(observe=VECTORS))
            for action in DIRECTED:
                check(ImageSteeringEnv(action=action, observe=("history",)))

    def test_sb3_checker_passes_on_scales(self) -> None:
        from stable_baselines3.common.env_checker import check_env as check

        with pytest.warns(UserWarning, match="symmetric and normalized"):
            check(ImageSteeringEnv(action="scale"))

    def test_the_passive_checker_is_quiet_over_an_episode(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            env = gym.make(ID, disable_env_checker=False, render_mode="rgb_array")
            env.reset(seed=0)
            for _ in range(4):
                env.step(env.action_space.sample())
                env.render()
            env.close()
            env.close()

    def test_specs_are_json_and_can_be_made_again(self) -> None:
        spec = gym.make(ID, rounds=3, observe=("embedding",)).spec
        assert spec is not None
        assert spec.max_episode_steps == 3
        again = gym.make(gym.envs.registration.EnvSpec.from_json(spec.to_json()))
        assert again.unwrapped.dynamics.num_rounds == 3
        assert gym.make_vec(spec, num_envs=2).unwrapped.dynamics.num_rounds == 3

    def test_module_qualified_id(self) -> None:
        assert gym.make("steer_env:" + ID).spec.id == ID

    def test_python_types_of_the_single_environment(self) -> None:
        env = ImageSteeringEnv()
        env.reset(seed=0)
        _, reward, terminated, truncated, info = env.step(3)
        assert type(reward) is float
        assert type(terminated) is bool
        assert type(truncated) is bool
        assert {type(value) for value in info.values()} <= {float, int, np.ndarray}
        assert "episode" not in info

    def test_the_docstring_has_the_headings_of_a_card(self) -> None:
        headings = ("Description", "Action space", "Observation space", "Rewards", "Starting state", "Episode end")
        assert all(f"### {heading}" in str(ImageSteeringEnv.__doc__) for heading in headings)

    def test_a_registered_version(self) -> None:
        assert steer_env.__version__
        assert gym.spec(ID).vector_entry_point


class TestWrappers:
    def test_single(self, tmp_path: Any) -> None:
        env = gym.make(ID, render_mode="rgb_array", reward="increment")
        env = RecordVideo(RecordEpisodeStatistics(TimeLimit(env, 3)), str(tmp_path / "videos"), disable_logger=True)
        env.reset(seed=0)
        rewards = []
        for step in range(3):
            _, reward, terminated, truncated, info = env.step(5)
            rewards.append(reward)
            assert (terminated, truncated) == (False, step == 2)
        assert info["episode"]["r"] == pytest.approx(sum(rewards))
        env.close()
        assert list(tmp_path.glob("videos/*.mp4"))

    def test_vector(self, tmp_path: Any) -> None:
        env: VectorEnv = gym.make_vec(ID, num_envs=2, render_mode="rgb_array", reward="increment")
        env = vector_wrappers.RecordVideo(
            vector_wrappers.RecordEpisodeStatistics(env),
            str(tmp_path / "videos"),
            episode_trigger=lambda _: True,
            disable_logger=True,
        )
        env.reset(seed=0)
        total = np.zeros(2)
        for _ in range(4):
            _, rewards, *_, infos = env.step(np.array([5, 7]))
            total += rewards
        np.testing.assert_allclose(infos["episode"]["r"], total, atol=1e-6)
        env.close()
        assert list(tmp_path.glob("videos/*.mp4"))


def transitions(env: VectorEnv, draw: Callable[[np.random.Generator], Any]) -> Iterator[Any]:
    yield env.reset(seed=11)
    rng = np.random.default_rng(0)
    for _ in range(10):
        yield env.step(draw(rng))


def equals_gymnasiums_own_vector(
    id: str, mode: AutoresetMode, draw: Callable[[np.random.Generator], Any], **options: Any
) -> None:
    """Our batch of three and Gymnasium's vector of three single environments go alike; ``draw`` gives the actions."""
    options = {**BLOTS, **options}
    ours = gym.make_vec(id, num_envs=3, autoreset_mode=mode, **options)
    kind = {"vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": mode}}
    theirs = gym.make_vec(id, num_envs=3, **kind, **options)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    for left, right in zip(transitions(ours, draw), transitions(theirs, draw), strict=True):
        *ours_returned, our_infos = left
        *they_returned, their_infos = right
        for a, b in zip(ours_returned, they_returned, strict=True):
            same(a, b)
        same(masked(our_infos), masked(their_infos))


class TestVectorForm:
    @pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
    def test_it_equals_gymnasiums_own_vector_of_single_environments(self, mode: AutoresetMode) -> None:
        equals_gymnasiums_own_vector(ID, mode, lambda rng: rng.integers(0, 10, 3), **EVERYTHING)
        equals_gymnasiums_own_vector(ID, mode, lambda rng: rng.integers(0, 10, 3), observe=("embedding", "history"))

    @pytest.mark.parametrize("action", DIRECTED)
    def test_directed_ones_too(self, action: str) -> None:
        shape = ImageSteeringEnv(action=action, **BLOTS).action_space.shape
        draw = lambda rng: rng.uniform(-1, 1, (3, *shape)).astype(np.float32)  # noqa: E731
        equals_gymnasiums_own_vector(ID, AutoresetMode.SAME_STEP, draw, action=action, observe=("history",))

    def test_episodes_restart_together_with_their_own_streams_under_a_mask(self) -> None:
        env = ImageSteeringVectorEnv(3, named=True, autoreset_mode=AutoresetMode.DISABLED)
        env.reset(seed=0)
        env.step(np.array([1, 2, 3]))
        observation, infos = env.reset(options={"reset_mask": np.array([False, True, False])})
        assert observation["round"].tolist() == [1, 0, 1]
        assert infos["_task_index"].tolist() == [False, True, False]
        env.step(np.array([1, 2, 3]))
        assert env.observe()["round"].tolist() == [2, 1, 2]

    def test_next_step_autoreset_generates_nothing_for_the_ignored_action(self, counting_generator: Any) -> None:
        env = ImageSteeringVectorEnv(2, generator=counting_generator, rounds=1)
        env.reset(seed=0)
        env.step(np.array([0, 0]))
        made = len(counting_generator.latents)
        _, rewards, terminated, _, _ = env.step(np.array([0, 0]))
        assert len(counting_generator.latents) == made + 4
        assert rewards.tolist() == [0, 0]
        assert not terminated.any()

    def test_disabled_autoreset_refuses_to_go_past_the_end(self) -> None:
        env = ImageSteeringVectorEnv(1, rounds=1, autoreset_mode=AutoresetMode.DISABLED)
        env.reset(seed=0)
        env.step(np.array([3]))
        with pytest.raises(RuntimeError, match="call reset"):
            env.step(np.array([3]))

    def test_given_tasks_are_played(self) -> None:
        env = ImageSteeringVectorEnv(2, suite="tiles-val-v1")
        _, infos = env.reset(options={"task_index": [4, 9], "episode_seed": [1, 2]})
        assert infos["task_index"].tolist() == [4, 9]
        assert env.dynamics.tasks == [load_suite("tiles-val-v1")[4], load_suite("tiles-val-v1")[9]]


def masked(infos: dict[str, Any]) -> dict[str, Any]:
    """Infos as they are meant to be read: entries without their mask are left out."""
    result = {}
    for name, values in infos.items():
        if name.startswith("_"):
            result[name] = values
        elif isinstance(values, dict):
            result[name] = masked(values)
        else:
            result[name] = values[infos[f"_{name}"]]
    return result


class TestEpisode:
    def test_increments_sum_to_the_final_reward(self) -> None:
        totals = []
        for reward in ("final", "increment"):
            env = ImageSteeringEnv(reward=reward)
            _, info = env.reset(seed=5)
            first, rewards = info["similarity"], []
            for action in (9, 7, 5, 3):
                _, value, _, _, info = env.step(action)
                rewards.append(value)
            totals.append(sum(rewards))
            assert info["improvement"] == pytest.approx(info["similarity"] - first)
            if reward == "final":
                assert rewards[:3] == [0, 0, 0]
        assert totals[0] == pytest.approx(totals[1], abs=1e-12)
        assert totals[0] == pytest.approx(info["improvement"])

    def test_the_same_seed_gives_the_same_episode(self) -> None:
        def play(env: ImageSteeringEnv) -> list[Any]:
            return [env.reset(seed=3), *[env.step(action) for action in (9, 7, 5, 3)]]

        env = ImageSteeringEnv(**EVERYTHING)
        for left, right in zip(play(env), play(ImageSteeringEnv(**EVERYTHING)), strict=True):
            for a, b in zip(left, right, strict=True):
                same(a, b)

    def test_observations_cannot_depend_on_the_goal(self) -> None:
        """Swap the goal and force the same choices: every observation is the same, byte for byte."""

        class Scripted:
            id = "scripted"

            def __init__(self) -> None:
                self.left = [1, 0, 2, 1]

            def choose(self, similarities: Any, draws: Any, persons: Any) -> Any:
                return similarities.new_full((len(similarities),), self.left.pop(0)).long()

        seen, similarities = [], []
        for goal in (0, 1):
            env = ImageSteeringEnv(human=Scripted(), suite="tiles-val-v1", **EVERYTHING)
            mine, other = load_suite("tiles-val-v1")[0], load_suite("tiles-val-v1")[1]
            swapped = [mine, type(mine)(**{**vars(mine), "goal_prompt": other.goal_prompt, "goal_seed": 77})][goal]
            env.reset(seed=0)
            env.dynamics.reset([swapped], [5])
            frames = [env._observation()]
            for action in (9, 4, 6, 2):
                observation, _, _, _, info = env.step(action)
                frames.append(observation)
                similarities.append(info["similarity"])
            seen.append(frames)
        for left, right in zip(*seen, strict=True):
            assert left.keys() == right.keys()
            for name in left:
                assert np.array_equal(left[name], right[name]), name
        assert similarities[:4] != similarities[4:]

    def test_observation_follows_the_course(self) -> None:
        env = ImageSteeringEnv(named=True)
        observation, _ = env.reset(seed=1)
        assert (int(observation["round"]), int(observation["stayed"])) == (0, 0)
        for place in range(1, 5):
            observation, _, terminated, _, info = env.step(2)
            assert int(observation["round"]) == place
            assert int(observation["stayed"]) == int(info["choice"] == 0)
            assert terminated == (place == 4)

    def test_history_is_what_was_shown_and_chosen(self) -> None:
        env = ImageSteeringVectorEnv(2, named=True, observe=("history", "embedding", "conditioning"), rounds=3)
        observation, _ = env.reset(seed=1)
        assert not any(observation[name].any() for name in ("shown", "chosen", "played"))
        for place in range(3):
            held, before = observation["embedding"], observation
            observation, *_, infos = env.step(np.array([9, 6]))
            np.testing.assert_array_equal(observation["shown"][:, place, 0], held)
            choice = np.eye(3)[infos["choice"]]
            np.testing.assert_array_equal(observation["chosen"][:, place], choice)
            taken = (observation["shown"][:, place] * choice[..., None]).sum(axis=1)
            np.testing.assert_allclose(observation["embedding"], taken, atol=1e-6)
            assert observation["played"].tolist() == [[float(i <= place) for i in range(3)]] * 2
            np.testing.assert_array_equal(observation["shown"][:, :place], before["shown"][:, :place])
            assert not observation["shown"][:, place + 1 :].any()
        flat = ImageSteeringVectorEnv(2, observe=("history", "embedding", "conditioning"), rounds=3)
        assert flat.reset(seed=1)[0].dtype == np.float32
        assert flat.single_observation_space.shape == (4 + 2 + 96 + 128 + 3 * 3 * 96 + 3 * 3 + 3,)

    def test_conditioning_is_that_of_the_prompt_alone(self) -> None:
        env = ImageSteeringVectorEnv(2, named=True, observe=("conditioning",), suite="tiles-val-v1")
        rows = []
        for tasks in ([3, 4], [4, 3]):
            observation, _ = env.reset(options={"task_index": tasks, "episode_seed": [1, 2]})
            rows.append(observation["conditioning"])
        np.testing.assert_array_equal(rows[0], rows[1][::-1])
        assert not np.array_equal(*rows[0])

    def test_frames_keep_their_size_and_mark_the_choice(self) -> None:
        env = ImageSteeringEnv(render_mode="rgb_array")
        env.reset(seed=1)
        frames = [env.render()]
        for action in (9, 5, 5, 5):
            env.step(action)
            frames.append(env.render())
        assert {frame.shape for frame in frames} == {frames[0].shape}
        assert all(frame.dtype == np.uint8 for frame in frames)
        green = [(frame == (20, 150, 60)).all(axis=2).sum() for frame in frames]
        assert green[0] == 0
        assert len(set(green[1:])) == 1
        assert green[1] > 100

    def test_no_render_mode_renders_nothing(self) -> None:
        env = ImageSteeringEnv()
        env.reset(seed=0)
        assert env.render() is None


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"suite": "tiles"}, "unknown suite 'tiles'"),
            ({"generator": "tile"}, "unknown generator 'tile'; did you mean 'tiles'"),
            ({"metric": "ssim"}, "unknown metric 'ssim'"),
            ({"human": "gready"}, "did you mean 'greedy'"),
            ({"mechanism": "x"}, "unknown mechanism"),
            ({"action": "buckets"}, "unknown kind of action 'buckets'; did you mean 'bucket'"),
            ({"reward": "sparse"}, "unknown reward"),
            ({"observe": ("goal",)}, "unknown observation 'goal'"),
            ({"render_mode": "human"}, "unknown render_mode"),
            ({"rounds": 0}, "rounds must be from 1 to 1000"),
            ({"named": "yes"}, "named must be true or false, got 'yes'"),
            ({"max_episode_steps": 9}, "episodes end after rounds=4, not after max_episode_steps=9"),
            ({"rounds": "four"}, "rounds must be a whole number, got 'four'"),
            ({"rewards": "final"}, "unknown argument 'rewards'; did you mean 'reward'"),
            ({"generator": "tiles:stps=3"}, "unknown option of generator 'tiles' 'stps'; did you mean 'steps'"),
            ({"device": "cpux"}, "unknown device 'cpux'; here are: cpu"),
            ({"dtype": "float8"}, "unknown dtype 'float8'"),
        ],
    )
    def test_bad_arguments(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ImageSteeringEnv(**options)

    def test_bad_actions_and_sizes(self) -> None:
        env = ImageSteeringVectorEnv(2)
        with pytest.raises(RuntimeError, match="call reset before step"):
            env.step(np.array([1, 1]))
        env.reset(seed=0)
        with pytest.raises(ValueError, match="bucket 10 is out of range"):
            env.step(np.array([1, 10]))
        with pytest.raises(ValueError, match=r"need actions of shape \(2,\), got \(3,\)"):
            env.step(np.array([1, 1, 1]))
        with pytest.raises(ValueError, match="2 environments need as many seeds, got 1"):
            env.reset(seed=[1])
        with pytest.raises(ValueError, match="task_index must have one entry"):
            env.reset(options={"task_index": [1]})
        with pytest.raises(ValueError, match="unknown reset options"):
            env.reset(options={"tasks": [1, 2]})
        with pytest.raises(ValueError, match="reset_mask must be bool"):
            env.reset(options={"reset_mask": [True]})
        with pytest.raises(ValueError, match="task_index must be from 0 to 59999"):
            env.reset(options={"task_index": [1, 10**6]})


@pytest.mark.parametrize(
    ("kind", "env"), [(ImageArguments, ImageSteeringVectorEnv), (TextArguments, TextSteeringVectorEnv)]
)
def test_type_checkers_know_all_arguments(kind: type, env: type[SteeringVectorEnv]) -> None:
    """Each constructor takes what is declared, with the same types."""
    taken: dict[str, Any] = {}
    for each in (SteeringVectorEnv, env):
        taken |= {name: part.annotation for name, part in inspect.signature(each.__init__).parameters.items()}
    for name in ("self", "num_envs", "shared", "autoreset_mode"):
        del taken[name]
    assert {name: hint.__forward_arg__ for name, hint in kind.__annotations__.items()} == taken
