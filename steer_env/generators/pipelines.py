"""Any text-to-image pipeline of diffusers that takes latents, by calling the pipeline itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from steer_env.compatibility import quiet, reason
from steer_env.devices import resolve_device, resolve_dtype
from steer_env.generators.batches import TRIED_PROMPTS, TRIED_STEPS, BatchedGenerator, check_images, trial_latents
from steer_env.generators.checkpoints import ANY, evaluations, load_pipeline, load_solver, of_scheduler, solver_settings
from steer_env.generators.options import PipelineOptions
from steer_env.generators.prompts import decoded, encoded
from steer_env.types import Conditioning

_NEEDED = ("prompt", "latents", "num_inference_steps", "output_type")
"""Arguments of a pipeline without which it can't be steered."""
_FIXED = {"use_resolution_binning": False, "clean_caption": False, "output_type": "pt"}
"""Sizes are the latents', and prompts don't depend on which packages happen to be installed."""


class _Reached(Exception):
    """Ends a call of the pipeline where its latents are known."""


class PipelineGenerator(BatchedGenerator):
    """f(z, prompt) by one call of a pipeline for many latents, each with a prompt of its own.

    Latents have the shape that the pipeline gives its own, which may be packed. Prompts travel as they are, and are
    encoded by each call: beside the denoiser of such a model that costs little. When it is loaded, few steps show
    whether images are finite, the same each time, and the same in a batch as alone.

    Args:
        path, **options: see :class:`steer_env.generators.options.PipelineOptions`.

    Raises:
        FileNotFoundError, OSError: as for :class:`steer_env.generators.diffusion.DiffusionGenerator`.
        ValueError: a pipeline of another kind, or whose images aren't decided by latents and prompts; or an option that
            it doesn't take, or out of range.
    """

    def __init__(self, path: str, **options: Any) -> None:
        chosen = PipelineOptions(path=path, **options)
        device = resolve_device(chosen.device)
        self.dtype = resolve_dtype(chosen.dtype, device)
        self.pipeline = load_pipeline(ANY, chosen, self.dtype)
        if chosen.solver:
            self.pipeline.scheduler = load_solver(chosen.solver, self.pipeline)
        if hasattr(self.pipeline, "watermark"):
            self.pipeline.watermark = None
        self.steps, self._arguments = _arguments(chosen, self.pipeline)
        guidance = self._arguments.get("guidance_scale", _usual(self.pipeline, "guidance_scale"))
        scale = "" if guidance is None else f"x{guidance:g}"
        further = [f"{name}={value}" for name, value in chosen.arguments.items()]
        changes = [*filter(None, [chosen.solver]), *chosen.changes(), *further]
        self.id = chosen.id or " ".join([f"{path}@{self.steps}{scale}", *changes])
        self._batch_is_fixed, self.max_batch = bool(chosen.max_batch), chosen.max_batch or 1
        self._load(path, device)
        size = (chosen.height or self.image_shape[1], chosen.width or self.image_shape[2])
        if size != self.image_shape[1:]:
            made = "{} × {}".format(*self.image_shape[1:])
            raise ValueError(
                f"{path}'s {type(self.pipeline).__name__} makes images of {made} pixels, where height is "
                f"{chosen.height} and width {chosen.width}: set both, to multiples of 16 or 32"
            )

    def _load(self, path: str, device: str) -> None:
        """Put it on its device, and find out by a few steps what it makes."""
        self.pipeline.to(device)
        self.device = torch.device(device)
        name = type(self.pipeline).__name__
        try:
            self.latent_shape, self._latent_dtype = self._probed()
            self._check(path)
        except torch.OutOfMemoryError:
            raise
        except _CALLED as error:
            raise ValueError(f"{path} can't be steered: its {name} makes no image: {reason(error)}") from error
        self.to(device)

    def to(self, device: str) -> PipelineGenerator:
        """Move it; returns itself."""
        self.pipeline.to(device)
        self.device = torch.device(device)
        if not self._batch_is_fixed:
            self.max_batch = self._fitting_batch()
        return self

    @torch.inference_mode()
    def _probed(self) -> tuple[tuple[int, ...], torch.dtype]:
        """Shape and precision of the latents that the pipeline draws for one image."""
        drawn: list[Any] = []
        prepare = self.pipeline.prepare_latents

        def stop(*inputs: Any, **named: Any) -> None:
            drawn.append(prepare(*inputs, **named))
            raise _Reached

        self.pipeline.prepare_latents = stop
        try:
            with torch.random.fork_rng(devices=_cuda(self.device)):
                self._call([""], None, 1)
        except _Reached:
            pass
        finally:
            del self.pipeline.prepare_latents
        latents = drawn[0][0] if isinstance(drawn[0], tuple) else drawn[0]
        return tuple(latents.shape[1:]), latents.dtype

    @torch.inference_mode()
    def _check(self, path: str) -> None:
        """Make the same images twice and one of them alone, in few steps; sets ``image_shape`` and ``passes``."""
        steps, latents = min(self.steps, TRIED_STEPS), trial_latents(self.latent_shape, self.device)
        made = []
        for seed, n in enumerate((2, 2, 1)):
            with torch.random.fork_rng(devices=_cuda(self.device)), self._counted() as rows:
                torch.manual_seed(seed)
                made.append(self._call(list(TRIED_PROMPTS[:n]), latents[:n], steps))
        first, again, alone = made
        check_images(path, first, again, alone, self.dtype, of_scheduler(self.pipeline.scheduler))
        _, _, height, width = first.shape
        self.image_shape = (3, height, width)
        all_of, tried = (evaluations(self.pipeline.scheduler, number) for number in (self.steps, steps))
        self.passes = -(-sum(rows) * all_of // tried)

    @contextmanager
    def _counted(self) -> Iterator[list[int]]:
        """How many images the denoiser sees in each of its calls."""
        rows: list[int] = []
        denoiser = getattr(self.pipeline, "transformer", None) or getattr(self.pipeline, "unet", None)
        if not isinstance(denoiser, nn.Module):
            raise TypeError("it has neither a transformer nor a unet")

        def count(_: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            rows.append(len(inputs[0] if inputs else named["hidden_states"]))

        hook = denoiser.register_forward_pre_hook(count, with_kwargs=True)
        try:
            yield rows
        finally:
            hook.remove()

    def _call(self, prompts: list[str], latents: Tensor | None, steps: int) -> Tensor:
        """Images float32 (B, 3, H, W) in [0, 1]."""
        if latents is not None:
            latents = latents.to(self._latent_dtype)
        with quiet(), catch_warnings():
            simplefilter("ignore")
            output = self.pipeline(prompt=prompts, latents=latents, num_inference_steps=steps, **self._arguments)
        return output.images.float().clamp(0, 1)

    def fingerprint(self) -> str:
        """Of weights and settings, wherever they were read from."""
        settings = sorted((name, repr(value)) for name, value in self._arguments.items())
        solver = solver_settings(self.pipeline.scheduler)
        return f"{self._weights} {self.dtype} {self.steps} {self.latent_shape} {settings} {solver}"

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """See :func:`steer_env.generators.prompts.encoded`."""
        return {"prompt": encoded(prompts).to(self.device)}

    def _sample(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        return self._call(decoded(conditioning["prompt"]), latents, self.steps)


_CALLED = (TypeError, ValueError, AttributeError, LookupError, RuntimeError, AssertionError)
"""What pipelines raise that can't do what is wanted of them."""


def _arguments(chosen: PipelineOptions, pipeline: Any) -> tuple[int, dict[str, Any]]:
    """Denoising steps, and the other arguments of the pipeline's call."""
    takes, kind = inspect.signature(pipeline.__call__).parameters, type(pipeline).__name__
    if missing := [name for name in _NEEDED if name not in takes]:
        raise ValueError(f"{chosen.path} is for diffusers' {kind}, which takes no {' and no '.join(missing)}")
    arguments = {name: value for name, value in vars(chosen).items() if name in ("height", "width") and value}
    if chosen.guidance_scale is not None:
        arguments["guidance_scale"] = chosen.guidance_scale
    arguments |= chosen.arguments
    if unknown := [name for name in arguments if name not in takes or name in (*_NEEDED, *_FIXED)]:
        raise ValueError(f"{unknown[0]} can't be set for diffusers' {kind} of {chosen.path}")
    steps = chosen.steps or _usual(pipeline, "num_inference_steps")
    return steps, {**arguments, **{name: value for name, value in _FIXED.items() if name in takes}}


def _usual(pipeline: Any, name: str) -> Any:
    """An argument's default; None where there is no such argument."""
    argument = inspect.signature(pipeline.__call__).parameters.get(name)
    return argument.default if argument else None


def _cuda(device: torch.device) -> list[torch.device]:
    """Devices whose random state is kept, besides the CPU's."""
    return [device] if device.type == "cuda" else []
