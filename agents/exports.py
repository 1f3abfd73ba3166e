"""From a trained Stable-Baselines3 model to a policy that needs neither it nor torch: its actor as an ONNX graph."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

from steer_env.policies.networks import ACTION, FLAT, NEXT, NetworkPolicy

_STATES = ("state_h", "state_c")
"""Of an LSTM."""


class Actor(nn.Module):
    """What a model does without exploring, from raw observations to actions in their range.

    Args:
        model: a trained one, on flat observations.
        normalised: what its observations went through.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: BaseAlgorithm, normalised: VecNormalize) -> None:
        super().__init__()
        self.policy, self.recurrent = model.policy, isinstance(model, RecurrentPPO)
        self._clip = float(normalised.clip_obs) if normalised.norm_obs else 0.0
        if self._clip:
            rms = normalised.obs_rms
            self.register_buffer("mean", torch.as_tensor(rms.mean, dtype=torch.float32))
            deviation = (torch.as_tensor(rms.var) + normalised.epsilon).sqrt()
            self.register_buffer("deviation", deviation.float())
        space = model.action_space
        self._bounds = (torch.as_tensor(space.low), torch.as_tensor(space.high)) if hasattr(space, "low") else None

    def forward(self, observation: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Observations (1, D), and states (1, layers, H), → an action (1, …), and the next states."""
        seen = observation
        if self._clip:
            seen = ((observation - self.mean) / self.deviation).clamp(-self._clip, self._clip)
        if not self.recurrent:
            return (self._ranged(self.policy._predict(seen, deterministic=True)),)
        held = RNNStates(tuple(state.transpose(0, 1) for state in states), ())
        features = self.policy.extract_features(seen, self.policy.pi_features_extractor)
        latent, after = self.policy.lstm_actor(features[None], held.pi)
        chosen = self.policy._get_action_dist_from_latent(self.policy.mlp_extractor.forward_actor(latent[0]))
        return self._ranged(chosen.mode()), *(state.transpose(0, 1) for state in after)

    def _ranged(self, actions: Tensor) -> Tensor:
        if self._bounds is None:
            return actions.float().reshape(1, -1)
        low, high = self._bounds
        actions = actions.reshape(1, *low.shape)
        if self.policy.squash_output:
            actions = low + 0.5 * (actions + 1) * (high - low)
        return torch.minimum(torch.maximum(actions, low), high)


def exported(
    model: BaseAlgorithm, normalised: VecNormalize, action: str, observe: Sequence[str], name: str, training_seed: int
) -> NetworkPolicy:
    """The model's actor, with the statistics that its observations were normalised by.

    Args:
        model: trained on flat observations.
        normalised: around its environment.
        action, observe: of the environment.
        name, training_seed: of the policy.
    """
    actor = Actor(model, normalised).eval()
    inputs, outputs = [FLAT], [ACTION]
    arguments = [torch.zeros(1, *model.observation_space.shape)]
    if actor.recurrent:
        inputs += _STATES
        outputs += [f"{NEXT}{state}" for state in _STATES]
        lstm = actor.policy.lstm_actor
        arguments += [torch.zeros(1, lstm.num_layers, lstm.hidden_size) for _ in _STATES]
    return NetworkPolicy(name, onnx_graph(actor, arguments, inputs, outputs), action, observe, training_seed)


def onnx_graph(module: nn.Module, arguments: Sequence[Tensor], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """A module as an ONNX graph of one episode, with these names."""
    file: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The older exporter: the newer one takes twenty times as long, and prints what it does.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            *(module, tuple(arguments), file),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=17,
            dynamo=False,
        )
    return bytes(file.getvalue())
