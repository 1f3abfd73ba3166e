"""What makes a generator faster leaves its images as they are, and the compiler meets few sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest
import torch
from torch import Tensor

from steer_env.generators.speed import Speed, fitting_batch, padded_size
from steer_env.generators.stable_diffusion import StableDiffusionGenerator
from steer_env.proposals import draw_latents
from steer_env.types import Generator
from tests.steer_env.checkpoints import diffusion_folder

Make = Callable[..., StableDiffusionGenerator]
GIB = 2**30


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes generators of a tiny checkpoint."""
    folder = str(diffusion_folder(tmp_path_factory.mktemp("tiny")))
    return lambda **options: StableDiffusionGenerator(folder, **{"steps": 2, "guidance_scale": 2.0, **options})


def pictures(generator: Generator, n: int) -> Tensor:
    latents = draw_latents(list(range(n)), generator.latent_shape)
    return generator.generate(latents, generator.encode([f"{i} red stars" for i in range(n)]))


@pytest.fixture(scope="module")
def expected(make: Make) -> Tensor:
    return pictures(make(), 5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.parametrize(
    "options",
    [
        {"channels_last": True},
        {"decode_batch": 2},
        {"tf32": True},
        {"compile": "aot_eager", "channels_last": True},
    ],
)
def test_images_are_the_same_but_for_rounding(options: dict[str, Any], expected: Tensor, make: Make) -> None:
    generator = make(**options)
    torch.testing.assert_close(pictures(generator, 5), expected, atol=2e-5, rtol=0)
    assert generator.fingerprint() != make().fingerprint()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what a compiled denoiser is called with."""
    sizes: list[int] = []

    def compile(unet: Any, **how: Any) -> Callable[..., Any]:
        assert how == {"dynamic": False, "backend": "eager"}

        def call(inputs: Tensor, *others: Any, **options: Any) -> Any:
            assert all(len(values) == len(inputs) for values in options.values() if isinstance(values, Tensor))
            sizes.append(len(inputs))
            return unet(inputs, *others, **options)

        return call

    monkeypatch.setattr(torch, "compile", compile)
    return sizes


def test_a_compiled_denoiser_meets_few_sizes(seen: list[int], expected: Tensor, make: Make) -> None:
    generator = make(compile="eager", max_batch=8, steps=1, guidance_scale=1.0)
    plain = pictures(make(steps=1, guidance_scale=1.0), 19)
    for n in (1, 2, 3, 5, 6, 7, 8, 19):
        torch.testing.assert_close(pictures(generator, n), plain[:n], atol=2e-5, rtol=0)
    assert seen == [1, 2, 4, 8, 8, 8, 8, 8, 8, 4]
    seen.clear()
    generator = make(compile="eager", max_batch=4)
    torch.testing.assert_close(pictures(generator, 5), expected, atol=2e-5, rtol=0)
    # Two steps of four images and of one, each with guidance and without.
    assert seen == [8, 8, 2, 2]


def test_what_is_not_compiled_is_not_padded(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    generator, sizes = make(max_batch=4, steps=1, guidance_scale=1.0), []
    forward = generator._unet.forward
    monkeypatch.setattr(generator._unet, "forward", lambda x, *a, **k: sizes.append(len(x)) or forward(x, *a, **k))
    pictures(generator, 7)
    assert sizes == [4, 3]


def test_sizes_are_as_many_as_halvings() -> None:
    for largest in (1, 2, 3, 48, 64, 100, 256):
        sizes = [padded_size(n, largest) for n in range(1, largest + 1)]
        assert all(n <= size < 2 * n + 1 for n, size in enumerate(sizes, 1))
        assert len(set(sizes)) == 1 + math.ceil(math.log2(largest))
        assert (sizes[0], sizes[-1]) == (1, largest)


def test_a_compiled_generator_travels(seen: list[int], expected: Tensor, make: Make) -> None:
    generator = make(compile="eager")
    pictures(generator, 2)
    sent = cloudpickle.loads(cloudpickle.dumps(generator))
    torch.testing.assert_close(pictures(sent, 5), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_used_as_it_was_said_and_only_meanwhile(
    allowed: bool, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    generator = make(tf32=allowed, steps=1)
    found, forward = set(), generator._unet.forward

    def watched(*args: Any, **options: Any) -> Any:
        found.add((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return forward(*args, **options)

    monkeypatch.setattr(generator._unet, "forward", watched)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    pictures(generator, 1)
    assert found == {(allowed, allowed)}
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_the_decoder_sees_slices(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    generator, sizes = make(decode_batch=2, steps=1), []
    decode = generator._vae.decode
    monkeypatch.setattr(generator._vae, "decode", lambda z, **options: sizes.append(len(z)) or decode(z, **options))
    pictures(generator, 5)
    assert sizes == [2, 2, 1]


class TestBatchThatFits:
    @pytest.fixture
    def gpu(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], torch.device]:
        """A GPU with so many free GiB."""

        def having(free: float) -> torch.device:
            monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
            monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free * GIB), 80 * GIB))
            return torch.device("cuda")

        return having

    @pytest.mark.parametrize(("free", "fits"), [(20, 15), (10, 7), (1, 1), (0.1, 1), (79, 62), (4000, 256)])
    def test_it_follows_from_the_cost_of_an_image(
        self, free: float, fits: int, gpu: Callable[[float], torch.device]
    ) -> None:
        """Half a GiB for any number, and one for each."""
        assert fitting_batch(gpu(free), lambda images: GIB // 2 + images * GIB) == fits

    def test_where_a_few_do_not_fit_it_is_one(self, gpu: Callable[[float], torch.device]) -> None:
        def peak(images: int) -> int:
            if images > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return GIB

        assert fitting_batch(gpu(1), peak) == 1

    def test_what_costs_nothing_is_bounded(self, gpu: Callable[[float], torch.device]) -> None:
        assert fitting_batch(gpu(20), lambda images: 0) == 256

    def test_elsewhere_it_is_fixed(self, make: Make) -> None:
        generator = make(max_batch=0)
        assert generator.max_batch == 64
        assert generator.to("cpu").max_batch == 64


def test_speed_is_off_by_default(make: Make) -> None:
    assert make().speed == Speed(channels_last=False, compile="", tf32=False, decode_batch=0)
