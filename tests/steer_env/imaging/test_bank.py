"""Goals and first images that are found again: by what, when not, and that it makes no difference."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from steer_env import assets
from steer_env.dynamics import SteeringDynamics
from steer_env.envs import ImageSteeringEnv, ImageSteeringVectorEnv, TextSteeringVectorEnv
from steer_env.generators.stable_diffusion import StableDiffusionGenerator
from steer_env.humans.choosers import GreedyHuman
from steer_env.imaging.bank import GoalBank
from steer_env.imaging.studio import LocalStudio
from steer_env.metrics import load_metric
from steer_env.tasks import load_suite
from steer_env.types import Generator, Metric
from tests.conftest import CountingGenerator

TASKS = load_suite("tiles-val-v1")[:2]
MADE, PROPOSED = 4, 2
"""Goals and first images of these tasks; proposals of a round."""
SHIPPED = assets.ROOT / "tiles-generator"


class Counting(CountingGenerator):
    """The embedded generator, or another one, that counts what it makes and says what it is."""

    def __init__(self, inner: Generator) -> None:
        super().__init__(inner)
        self._made = inner

    def fingerprint(self) -> str:
        assert isinstance(self._made, StableDiffusionGenerator)
        return self._made.fingerprint()


def played(
    bank: GoalBank | None, generator: Generator, metric: Metric, tasks: Sequence[Any] = TASKS, **options: Any
) -> tuple[Any, ...]:
    """Everything that comes of one round."""
    studio = LocalStudio(generator, metric, goal_bank=bank)
    dynamics = SteeringDynamics(studio, GreedyHuman(), len(tasks), proposals=1, **options)
    dynamics.reset(tasks, range(len(tasks)))
    outcome = dynamics.step(np.full(len(tasks), 0.8))
    return outcome.similarities, outcome.choices, dynamics.goal_images.copy()


def equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def bank(tmp_path: Path) -> GoalBank:
    return GoalBank(tmp_path / "goals")


@pytest.fixture
def counting(generator: Generator) -> Counting:
    return Counting(generator)


def files(bank: GoalBank) -> list[Path]:
    return sorted(path for path in bank.folder.rglob("*") if path.is_file())


class TestWhatIsPlayed:
    def test_it_is_the_same_without_a_bank_but_for_rounding(
        self, bank: GoalBank, generator: Generator, metric: Metric
    ) -> None:
        plain, banked = played(None, generator, metric), played(bank, generator, metric)
        for one, other in zip(plain, banked, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-6)

    def test_it_is_the_same_to_the_last_digit_whatever_the_bank_holds(
        self, bank: GoalBank, tmp_path: Path, counting: Counting, metric: Metric
    ) -> None:
        """Made in the same batch, in another one, or half of each."""
        whole = played(bank, counting, metric)
        assert equal(whole, played(bank, counting, metric))
        other = GoalBank(tmp_path / "other")
        played(other, counting, metric, TASKS[1:])
        assert equal(whole, played(other, counting, metric))
        for path in files(bank)[::2]:
            path.unlink()
        assert equal(whole, played(bank, counting, metric))

    def test_what_is_there_is_not_made_again(self, bank: GoalBank, counting: Counting, metric: Metric) -> None:
        counts = []
        for _ in range(2):
            before = len(counting.latents)
            played(bank, counting, metric)
            counts.append(len(counting.latents) - before)
        assert counts == [MADE + PROPOSED, PROPOSED]

    def test_images_are_kept_where_they_are_needed(self, bank: GoalBank, counting: Counting, metric: Metric) -> None:
        played(bank, counting, metric)
        assert len(files(bank)) == MADE
        expected = played(None, counting, metric, keep_images=True)[-1]
        for _ in range(2):
            found = played(bank, counting, metric, keep_images=True)[-1]
            assert np.abs(found.astype(int) - expected).max() <= 1
        assert len(files(bank)) == 2 * MADE
        before = len(counting.latents)
        played(bank, counting, metric, keep_images=True)
        assert len(counting.latents) - before == PROPOSED

    def test_a_goal_that_is_known_to_one_metric_is_shown_to_another(
        self, bank: GoalBank, generator: Generator, metric: Metric
    ) -> None:
        judges = {"pixels": load_metric("pixel-correlation")}
        played(bank, generator, metric)
        dynamics = SteeringDynamics(LocalStudio(generator, metric, judges, bank), GreedyHuman(), 2)
        alone = SteeringDynamics(LocalStudio(generator, metric, judges), GreedyHuman(), 2)
        for each in (dynamics, alone):
            each.reset(TASKS, range(2))
        np.testing.assert_allclose(dynamics.judged()["pixels"], alone.judged()["pixels"], atol=2e-6)

    def test_environments_take_a_folder(self, tmp_path: Path) -> None:
        for make in (ImageSteeringVectorEnv, TextSteeringVectorEnv):
            folder = tmp_path / make.__name__
            environments = [make(2, goal_bank=str(folder)) for _ in range(2)]
            similarities = [env.reset(seed=0)[1]["similarity"] for env in environments]
            assert np.array_equal(*similarities)
            assert len(list(folder.rglob("*.safetensors"))) == 4
        ImageSteeringEnv(goal_bank="").reset(seed=0)


class TestAddresses:
    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        return Path(shutil.copytree(SHIPPED, tmp_path / "copy"))

    def test_one_checkpoint_at_two_places_is_one(self, copy: Path) -> None:
        ours, theirs = (StableDiffusionGenerator(str(path), 2, 1.0) for path in (SHIPPED, copy))
        before = ours.fingerprint()
        ours.encode(["a square", "a star"])
        assert ours.fingerprint() == before == theirs.fingerprint()
        # Computed anew, after the tokenizer has padded.
        again = StableDiffusionGenerator(str(copy), 2, 1.0)
        again.encode(["a square", "a star"])
        assert again.fingerprint() == before

    def test_two_checkpoints_at_one_place_are_two(self, copy: Path, bank: GoalBank, metric: Metric) -> None:
        made = [StableDiffusionGenerator(str(copy), 2, 1.0)]
        weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        made.append(StableDiffusionGenerator(str(copy), 2, 1.0))
        assert made[0].id == made[1].id
        for i, each in enumerate(made):
            counting = Counting(each)
            played(bank, counting, metric)
            assert len(counting.latents) == MADE + PROPOSED, i

    @pytest.mark.parametrize(
        "options",
        [{"steps": 1}, {"guidance_scale": 2.0}, {"solver": "euler"}, {"solver": "ddim"}, {"dtype": "bfloat16"}],
    )
    def test_settings_are_told_apart(self, options: dict[str, Any]) -> None:
        usual = StableDiffusionGenerator(str(SHIPPED), **{"steps": 2, "guidance_scale": 1.0})
        other = StableDiffusionGenerator(str(SHIPPED), **{"steps": 2, "guidance_scale": 1.0, **options})
        # The checkpoint's own solver is DDIM.
        assert (usual.fingerprint() == other.fingerprint()) == (options == {"solver": "ddim"})

    def test_threads_are_told_apart(
        self, bank: GoalBank, counting: Counting, metric: Metric, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rounding depends on them: runs on one number of threads shall not meet what another number made."""
        played(bank, counting, metric)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1000)
        before = len(counting.latents)
        played(bank, counting, metric)
        assert len(counting.latents) - before == MADE + PROPOSED

    def test_a_generator_that_cannot_say_what_it_is(
        self, bank: GoalBank, counting_generator: CountingGenerator, metric: Metric
    ) -> None:
        with pytest.raises(ValueError, match=r"give 'tiles-\w+' a method fingerprint\(\)"):
            LocalStudio(counting_generator, metric, goal_bank=bank)


class TestFiles:
    VALUE = torch.linspace(-1, 1, 96)

    @pytest.mark.parametrize("value", [VALUE, torch.arange(12, dtype=torch.uint8).view(3, 2, 2)])
    def test_what_is_put_is_got(self, bank: GoalBank, value: Tensor) -> None:
        assert bank.get("there") is None
        bank.put("there", value)
        found = GoalBank(bank.folder).get("there")
        assert found is not None
        assert found.dtype == value.dtype
        assert torch.equal(found, value)
        assert bank.get("elsewhere") is None

    def test_no_damage_gives_a_wrong_value(self, bank: GoalBank, caplog: pytest.LogCaptureFixture) -> None:
        bank.put("there", self.VALUE)
        (path,) = files(bank)
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        flipped = [int(i) for i in rng.integers(0, len(whole), 300)]
        spoilt = [whole[:i] + bytes([whole[i] ^ (1 << int(rng.integers(8)))]) + whole[i + 1 :] for i in flipped]
        cut = [whole[:i] for i in (0, 1, 7, 8, 50, len(whole) - 1)]
        dropped = 0
        for content in (*spoilt, *cut, whole + b"0", b"something else"):
            path.write_bytes(content)
            found = bank.get("there")
            if found is None:
                dropped += 1
                assert not path.exists()
            else:
                # The remark in its header, for people, may be another.
                assert torch.equal(found, self.VALUE)
        assert dropped > 200
        assert len(caplog.records) == dropped
        assert "is damaged, or isn't what its name says: dropped" in caplog.text

    def test_a_file_of_another_address_is_refused(self, bank: GoalBank) -> None:
        bank.put("one", self.VALUE)
        (one,) = files(bank)
        bank.put("other", self.VALUE + 1)
        (other,) = set(files(bank)) - {one}
        shutil.copyfile(one, other)
        assert bank.get("other") is None
        assert torch.equal(bank.get("one"), self.VALUE)  # type: ignore[arg-type]

    @pytest.mark.skipif(os.name != "posix", reason="pipes and links are POSIX's")
    @pytest.mark.parametrize("place", ["pipe", "link"])
    def test_a_pipe_or_a_link_is_no_file_of_a_bank(self, place: str, bank: GoalBank, tmp_path: Path) -> None:
        """One would be waited for for ever, and the other may lead to a device without an end."""
        bank.put("there", self.VALUE)
        (path,) = files(bank)
        (tmp_path / "elsewhere").write_bytes(path.read_bytes())
        path.unlink()
        os.mkfifo(path) if place == "pipe" else path.symlink_to(tmp_path / "elsewhere")
        assert bank.get("there") is None
        bank.put("there", self.VALUE)
        assert bank.get("there") is not None

    def test_damage_is_mended_by_playing(
        self, bank: GoalBank, counting: Counting, metric: Metric, caplog: pytest.LogCaptureFixture
    ) -> None:
        expected = played(bank, counting, metric)
        for path in files(bank):
            path.write_bytes(path.read_bytes()[:-1])
        assert equal(expected, played(bank, counting, metric))
        assert len(caplog.records) == MADE
        assert equal(expected, played(bank, counting, metric))
        assert len(caplog.records) == MADE

    def test_many_may_read_and_write_the_same_at_once(self, bank: GoalBank, caplog: pytest.LogCaptureFixture) -> None:
        value = torch.arange(50_000.0)

        def use(i: int) -> bool:
            own = GoalBank(bank.folder)
            for _ in range(10):
                own.put("there", value)
                found = own.get("there")
                if found is None or not torch.equal(found, value):
                    return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(use, range(8)))
        assert len(files(bank)) == 1
        assert not caplog.records

    def test_those_used_longest_ago_go_first(self, tmp_path: Path) -> None:
        size = 10_000
        bank = GoalBank(tmp_path, limit=16 * (size + 1000))
        (tmp_path / "ab").mkdir()
        for name in ("ab/thesis.txt", "notes.safetensors"):
            (tmp_path / name).write_text("years of work" * 1000)
        for i in range(40):
            bank.put(str(i), torch.zeros(size, dtype=torch.uint8))
            bank.get("0")
            # The file system's clock may be coarse.
            for path in tmp_path.glob("??/*.safetensors"):
                status = path.stat()
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 10_000_000))
        kept = [i for i in range(40) if bank.get(str(i)) is not None]
        assert kept[0] == 0
        assert kept[1:] == list(range(41 - len(kept), 40))
        assert len(kept) >= 12
        assert sum(path.stat().st_size for path in tmp_path.glob("??/*.safetensors")) <= bank.limit
        assert (tmp_path / "ab" / "thesis.txt").exists()
        assert (tmp_path / "notes.safetensors").exists()

    def test_what_a_killed_process_left_goes_too(self, tmp_path: Path) -> None:
        bank = GoalBank(tmp_path, limit=20_000)
        bank.put("one", torch.zeros(5000, dtype=torch.uint8))
        (path,) = files(bank)
        left = path.with_name(f"{path.name}.0123abcd.partial")
        left.write_bytes(bytes(15_000))
        os.utime(left, (0, 0))
        bank.put("two", torch.zeros(5000, dtype=torch.uint8))
        assert not left.exists()
        assert bank.get("one") is not None

    def test_a_folder_that_can_no_longer_be_written_to(
        self, bank: GoalBank, counting: Counting, metric: Metric, caplog: pytest.LogCaptureFixture
    ) -> None:
        shutil.rmtree(bank.folder)
        bank.folder.write_text("a file")
        plain = played(GoalBank(bank.folder.with_name("other")), counting, metric)
        assert equal(plain, played(bank, counting, metric))
        assert caplog.text.count("goals are made anew each time") == 1

    def test_impossible_folders(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match=r"goal_bank=.*file/goals is no folder that can be made: "):
            ImageSteeringVectorEnv(1, goal_bank=str(tmp_path / "file" / "goals"))
        with pytest.raises(ValueError, match="limit of a goal bank must be at least 1 byte, got 0"):
            GoalBank(tmp_path, limit=0)
