"""Preferential Bayesian optimisation on the latent by BoTorch: a peer that makes no images beyond those shown."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from steer_env.mechanisms.directions import low_frequencies
from steer_env.mechanisms.options import QeuboOptions
from steer_env.proposals import mix
from steer_env.types import SteeringHistory

_STREAM = 0x9BE0
_FUNCTIONS = 64
"""Drawn from the posterior, to average over."""


class QeuboSteering:
    """Offers the images that a Gaussian process, which learns from the choices, expects to hold the best one.

    The utility of an image is a function of its latent's lowest frequencies. Its prior is a Gaussian process with the
    covariance exp(−|x − y|² / (2 d length²)); an image is preferred to another with probability Φ(difference /
    (√2 temperature)), and the posterior is Laplace's approximation (BoTorch's ``PairwiseGP``; Chu and Ghahramani,
    2005). Each image is a single point however often it is compared: the one that is held from round to round is not
    repeated. Candidates are mixtures of the current latent, at the policy's scale, with noises whose lowest frequencies
    are drawn anew. The proposals, chosen one after the other, maximise the expected utility of the best image on the
    screen (``qExpectedUtilityOfBestOption``; Astudillo et al., 2023), the current one among them. Before the first
    choice proposals are the mixture's.

    Args:
        shape: of a latent.
        options: of the Gaussian process and of the candidates.

    Raises:
        ImportError: BoTorch isn't installed.
        ValueError: more dimensions than a latent has.
    """

    extra_images = 0

    def __init__(self, shape: tuple[int, ...], options: QeuboOptions) -> None:
        self._basis = torch.from_numpy(low_frequencies(shape, options.dimensions))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # The library, at its import, of what torch deprecates.
                import botorch  # noqa: F401
        except ImportError as error:
            advice = "mechanism=qeubo needs a package that isn't here: pip install 'steer-env[qeubo]'"
            raise ImportError(advice) from error
        self.candidates = self.most_proposals = options.candidates
        self.dimensions, self.length, self.temperature = options.dimensions, options.length, options.temperature
        self.id = f"qeubo-{self.candidates}-{self.dimensions}-{self.length:g}-{self.temperature:g}"

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """See :class:`steer_env.types.Mechanism`."""
        proposals = mix(latents, noise, scales)
        basis = self._basis.to(noise)
        images, comparison = shown(latents, history), comparisons(history)
        for i, (own, pairs) in enumerate(zip(noise.flatten(2), comparison, strict=True)):
            if not pairs.any():
                continue
            seeded = np.random.SeedSequence([history.seeds[i], int(history.rounds[i]), _STREAM])
            stream = int(seeded.generate_state(1, np.uint32)[0])
            drawn = torch.randn(self.candidates, self.dimensions, generator=torch.Generator().manual_seed(stream))
            points, drawn, one = images[i] @ basis.T, drawn.to(noise), slice(i, i + 1)
            offers = mix(points[-1:], drawn[None], scales[one])[0]
            best = self._best(points, pairs, offers, len(own), stream)
            turned = own + (drawn[best] - own @ basis.T) @ basis
            proposals[i] = mix(latents[one], turned.reshape(noise[one].shape), scales[one])[0]
        return proposals

    def _best(self, points: Tensor, pairs: Tensor, offers: Tensor, k: int, seed: int) -> list[int]:
        """Places of the K best among the offers (C, d), one after the other, beside the last of the points (M, d)."""
        from botorch.acquisition.preference import qExpectedUtilityOfBestOption
        from botorch.sampling import SobolQMCNormalSampler

        # Gradients are BoTorch's own business, and inference mode would forbid them.
        with torch.inference_mode(False), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            points, pairs, offers = (values.cpu().double().clone() for values in (points, pairs, offers))
            model = self._posterior(points, pairs[pairs.any(dim=1)])
            sampler = SobolQMCNormalSampler(torch.Size([_FUNCTIONS]), seed=seed)
            best: list[int] = []
            for _ in range(k):
                screen = torch.cat([points[-1:], offers[best]])
                worth = qExpectedUtilityOfBestOption(model, sampler=sampler, X_pending=screen)
                with torch.no_grad():
                    values = worth(offers[:, None])
                values[best] = -torch.inf
                best.append(int(values.argmax()))
        return best

    def _posterior(self, points: Tensor, pairs: Tensor) -> Any:
        """Of a utility, given comparisons (P, M); so few say nothing of the kernel, which stays as the options have it.

        Points that nothing was compared with are left out, the held image among them, which is a proposal's.
        """
        from botorch.models.pairwise_gp import PairwiseGP
        from gpytorch.kernels import RBFKernel, ScaleKernel

        kernel = ScaleKernel(RBFKernel())
        kernel.base_kernel.lengthscale = self.length * self.dimensions**0.5
        # The likelihood's noise is 1.
        kernel.outputscale = self.temperature**-2
        used = pairs.any(dim=0)
        order = torch.stack([pairs[:, used].argmax(dim=1), pairs[:, used].argmin(dim=1)], dim=1)
        return PairwiseGP(points[used], order, covar_module=kernel).eval()


def shown(latents: Tensor, history: SteeringHistory) -> Tensor:
    """Latents of all images that the user may compare, from those of the current images, (N, *latent_shape).

    Returns:
        float (N, R·K + 1, D): proposals in their order, zero where a round isn't played yet; the current image last.
    """
    return torch.cat([history.proposals.flatten(3).flatten(1, 2), latents.flatten(1)[:, None]], dim=1)


def comparisons(history: SteeringHistory) -> Tensor:
    """Each proposal that wasn't taken, against the image that the user went on with.

    The history doesn't hold the first image. Where a user kept it, the proposal for which it was left later, and which
    was preferred to it, takes its place.

    Returns:
        float (N, R·K, R·K + 1), a row a proposal: −1 for the proposal itself, +1 for the image preferred to it, among
        those of :func:`shown`; zero for a proposal that was taken, or not made yet.
    """
    rounds, k = history.proposals.shape[1:3]
    device = history.choices.device
    places = torch.arange(rounds * k, device=device).reshape(rounds, k)
    chosen = history.choices[:, :, None] == 1 + torch.arange(k, device=device)
    # Later rounds have higher places: the last one taken so far is the highest, the first one ever the lowest.
    held = torch.where(chosen, places, -1).amax(dim=2).cummax(dim=1).values
    first = torch.where(chosen, places, rounds * k).flatten(1).amin(dim=1)
    held = torch.where(held < 0, first[:, None], held).repeat_interleave(k, dim=1)
    played = torch.arange(rounds, device=device) < torch.as_tensor(history.rounds, device=device)[:, None]
    lost = (played[:, :, None] & ~chosen).flatten(1)
    pairs = one_hot(held, rounds * k + 1)
    pairs.diagonal(dim1=1, dim2=2).sub_(1)
    return (pairs * lost[:, :, None]).to(history.proposals)
