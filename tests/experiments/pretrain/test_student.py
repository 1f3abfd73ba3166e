import numpy as np
import pytest
import torch

from experiments.pretrain.denoiser import DDIMPath, NoisedBatches, TileLatents, build_scheduler
from experiments.pretrain.text import CaptionWriter
from steer_env.tiles import tilings


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_the_path_is_that_of_diffusers_ddim(steps: int) -> None:
    """Step by step, with an arbitrary velocity at each node."""
    path, scheduler = DDIMPath(steps, torch.device("cpu")), build_scheduler()
    scheduler.set_timesteps(steps)
    rng = torch.Generator().manual_seed(0)
    ours = theirs = torch.randn(3, 8, 4, 4, generator=rng)
    for node, timestep in enumerate(scheduler.timesteps):
        velocity = torch.randn(3, 8, 4, 4, generator=rng)
        place = torch.full((3,), node)
        ours = path.step(ours, velocity, place, place + 1)
        theirs = scheduler.step(velocity, timestep, theirs).prev_sample
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_one_step_of_the_student_lands_where_two_of_the_teacher_did() -> None:
    path = DDIMPath(8, torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    start = torch.tensor([0, 2, 4, 6])
    latents, first, second = (torch.randn(4, 8, 3, 3, generator=rng) for _ in range(3))
    middle = path.step(latents, first, start, start + 1)
    end = path.step(middle, second, start + 1, start + 2)
    velocity = path.velocity_between(latents, end, start, start + 2)
    torch.testing.assert_close(path.step(latents, velocity, start, start + 2), end, atol=1e-4, rtol=1e-4)


def test_noising_follows_the_schedule_and_the_velocity_undoes_it() -> None:
    rng = np.random.default_rng(0)
    latents = torch.randn(16, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    data = TileLatents(latents.half(), tilings.sample_factors(16, rng))
    batches = NoisedBatches(data, CaptionWriter(), 32, seed=0, device=torch.device("cpu"))
    timesteps = batches.stratified_timesteps(rng)
    noised, velocity, tokens = batches.draw(timesteps, rng)
    alphas = build_scheduler().alphas_cumprod[timesteps][:, None, None, None]
    clean = alphas.sqrt() * noised - (1 - alphas).sqrt() * velocity
    gaps = (clean[:, None] - latents.half().float()[None]).abs().amax(dim=(2, 3, 4)).min(dim=1).values
    assert float(gaps.max()) < 1e-4
    assert tokens.shape == (32, 20)
    assert sorted((timesteps * 32 // 1000).tolist()) == list(range(32)), "one time in each slice"
