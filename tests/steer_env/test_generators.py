from pathlib import Path
from typing import Any

import cloudpickle
import diffusers
import pytest
import torch
from diffusers import StableDiffusionPipeline

from steer_env import assets
from steer_env.generators import load_generator
from steer_env.generators.checkpoints import SOLVERS
from steer_env.generators.stable_diffusion import StableDiffusionGenerator
from steer_env.proposals import draw_latents
from steer_env.testing import check_generator
from steer_env.types import Generator
from tests.conftest import CountingGenerator
from tests.steer_env.checkpoints import check_against_diffusers

FOLDER = str(assets.ROOT / "tiles-generator")
PROMPTS = ["four red stars", "crimson disc, on a white background", ""]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return StableDiffusionPipeline.from_pretrained(FOLDER, safety_checker=None, requires_safety_checker=False)


@pytest.mark.parametrize(("steps", "guidance"), [(1, 1.0), (2, 1.0), (5, 2.0)])
def test_it_equals_the_diffusers_pipeline(pipeline: Any, steps: int, guidance: float) -> None:
    check_against_diffusers(StableDiffusionGenerator(FOLDER, steps, guidance), pipeline, steps, guidance, PROMPTS)


@pytest.mark.parametrize("solver", SOLVERS)
def test_each_solver_equals_the_diffusers_pipeline_with_it(
    pipeline: Any, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = StableDiffusionGenerator(FOLDER, 4, 2.0, solver=solver)
    scheduler = getattr(diffusers, SOLVERS[solver]).from_config(pipeline.scheduler.config)
    monkeypatch.setattr(pipeline, "scheduler", scheduler)
    check_against_diffusers(ours, pipeline, 4, 2.0, PROMPTS)
    assert ours.id.endswith(f"@4x2 {solver}")


def test_too_little_memory_halves_the_batch_and_loses_no_image(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    generator = StableDiffusionGenerator(FOLDER, 1, 1.0, max_batch=8)
    latents = draw_latents(list(range(7)), generator.latent_shape)
    conditioning = generator.encode(["stars"] * 7)
    expected = generator.generate(latents, conditioning)
    sample, fits = generator._sample, [2]

    def scarce(latents: torch.Tensor, conditioning: Any) -> torch.Tensor:
        if len(latents) > fits[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sample(latents, conditioning)

    monkeypatch.setattr(generator, "_sample", scarce)
    torch.testing.assert_close(generator.generate(latents, conditioning), expected, atol=1e-5, rtol=0)
    assert generator.max_batch == 2
    assert "going on with 2 images at a time" in caplog.text
    fits[0] = 0
    with pytest.raises(torch.OutOfMemoryError):
        generator.generate(latents, conditioning)


@pytest.mark.parametrize("options", [{}, {"guidance_scale": 2.0, "steps": 3, "max_batch": 2}])
def test_conformance(options: dict[str, Any]) -> None:
    check_generator(load_generator("tiles", **options), ("", "four red stars", "a blue ring"))


def test_max_batch_bounds_what_the_unet_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = StableDiffusionGenerator(FOLDER, 1, 1.0, max_batch=2)
    sizes: list[int] = []
    sample = generator._sample

    def watched(latents: torch.Tensor, conditioning: Any) -> torch.Tensor:
        sizes.append(len(latents))
        return sample(latents, conditioning)

    monkeypatch.setattr(generator, "_sample", watched)
    latents = draw_latents(list(range(5)), generator.latent_shape)
    assert len(generator.generate(latents, generator.encode(["stars"] * 5))) == 5
    assert sizes == [2, 2, 1]


def test_each_distinct_prompt_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = StableDiffusionGenerator(FOLDER, 1, 1.0)
    encoded: list[str] = []
    encode = generator.pipeline.encode_prompt

    def watched(prompts: list[str], *args: Any, **options: Any) -> Any:
        encoded.extend(prompts)
        return encode(prompts, *args, **options)

    monkeypatch.setattr(generator.pipeline, "encode_prompt", watched)
    generator.encode(["a star", "a ring", "a star"])
    generator.encode(["a ring", "a cross"])
    assert encoded == ["a star", "a ring", "a cross"]


def test_the_noise_decides_what_the_prompt_leaves_open(generator: Generator) -> None:
    latents = draw_latents(list(range(8)), generator.latent_shape)
    images = generator.generate(latents, generator.encode(["tiles"] * 8))
    gaps = (images[:, None] - images[None]).abs().mean(dim=(2, 3, 4))
    assert gaps[~torch.eye(8, dtype=torch.bool)].min() > 0.01


def test_loaded_generators_are_shared() -> None:
    assert load_generator("tiles") is load_generator("tiles")


class TestErrors:
    def test_latents_of_another_shape(self, generator: Generator) -> None:
        with pytest.raises(ValueError, match=r"latents for 1 prompts must have shape \(1, "):
            generator.generate(torch.zeros(1, 3, 5, 5), generator.encode(["stars"]))
        with pytest.raises(ValueError, match="latents for 2 prompts"):
            generator.generate(torch.zeros(1, *generator.latent_shape), generator.encode(["stars", "rings"]))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"steps": 0}, "steps must be from 1 to 1000, got 0"),
            ({"max_batch": -1}, "max_batch must be from 0 to 65536, got -1"),
            ({"compile": "fast"}, "unknown way to compile 'fast'; There are: default, reduce-overhead"),
            ({"decode_batch": -1}, "decode_batch must be from 0 to 65536, got -1"),
            ({"solver": "dim"}, "unknown solver 'dim'; did you mean 'ddim'"),
            ({"dtype": "int8"}, "unknown dtype 'int8'; There are: float32, float16, bfloat16"),
        ],
    )
    def test_impossible_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            load_generator("tiles", **options)

    def test_a_checkpoint_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"is no Stable Diffusion checkpoint: it holds no model_index.json"):
            load_generator("stable-diffusion", path=str(tmp_path))


def test_the_check_finds_a_generator_that_is_not_deterministic(generator: Generator) -> None:
    class Restless(CountingGenerator):
        def generate(self, latents: torch.Tensor, conditioning: Any) -> torch.Tensor:
            return super().generate(latents + 0.1 * torch.randn_like(latents), conditioning)

    with pytest.raises(AssertionError, match="the same latents and prompts must give the same images"):
        check_generator(Restless(generator))


def test_the_embedded_models_id_says_what_is_other_than_usual() -> None:
    usual = load_generator("tiles").id
    assert load_generator("tiles", steps=2).id == usual
    assert load_generator("tiles", steps=1).id == f"{usual} steps=1"
    assert load_generator("tiles", id="mine", steps=1).id == "mine"


def test_it_travels(generator: Generator) -> None:
    """To another process, and to a device there."""
    sent = cloudpickle.loads(cloudpickle.dumps(generator))
    prompts, latents = ["a square", "a circle"], torch.randn(2, *generator.latent_shape)
    assert torch.equal(
        sent.generate(latents, sent.encode(prompts)), generator.generate(latents, generator.encode(prompts))
    )
    assert sent.to("cpu") is sent
    assert sent.id == generator.id
    sent.to("meta")
    assert sent.device.type == "meta"
    assert sent.encode(prompts)["prompt_embeds"].device.type == "meta"


def test_a_prompt_that_is_cut_is_warned_of(
    generator: Generator, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    length = generator.encode(["a square"])["prompt_embeds"].shape[1]
    # Begin and end of a text are tokens, too.
    cut = generator.encode(["square " * (length - 2)])
    assert not caplog.records
    long = generator.encode(["square " * (length + 10)])
    generator.encode(["circle " * (length + 20), "circle " * (length + 9)])
    assert [record.getMessage().replace("square ", "").replace("circle ", "") for record in caplog.records] == [
        f"the text encoder reads {length} tokens: 12 of 'squa' are cut",
        f"the text encoder reads {length} tokens: 22 of 'circ' are cut, and of 1 more prompts",
    ]
    assert capfd.readouterr().err == "", "nothing of the libraries' own warnings, which hold whole prompts"
    assert torch.equal(long["prompt_embeds"], cut["prompt_embeds"])
