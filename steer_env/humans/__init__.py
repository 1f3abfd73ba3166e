"""Simulated users by name: who chooses images, and who writes prompts by rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steer_env.humans.options import HesitantOptions, PersonOptions, PopulationOptions, RuleOptions, SoftmaxOptions
from steer_env.registry import NoOptions, Part, Parts, Registry, Spec, build, own_part
from steer_env.types import Human, Prompter

_CHOOSERS = "steer_env.humans.choosers"
_RULES = "steer_env.tiles.prompters"

HUMANS: Parts = Registry(
    "human",
    {
        "greedy": Part(NoOptions, f"{_CHOOSERS}:GreedyHuman"),
        "softmax": Part(SoftmaxOptions, f"{_CHOOSERS}:SoftmaxHuman"),
        "hesitant": Part(HesitantOptions, f"{_CHOOSERS}:HesitantHuman"),
        "mixture": Part(PopulationOptions, f"{_CHOOSERS}:MixtureHuman"),
    },
)
"""Who chooses among images."""

PROMPTERS: Parts = Registry(
    "prompter",
    {
        "attribute": Part(RuleOptions, f"{_RULES}:AttributePrompter"),
        "blind": Part(RuleOptions, f"{_RULES}:BlindPrompter"),
        "feedback": Part(RuleOptions, f"{_RULES}:FeedbackPrompter"),
        "person": Part(PersonOptions, f"{_RULES}:PersonPrompter"),
    },
)
"""Who writes prompts for the embedded domain, by rule or as people do; and see
:class:`steer_env.humans.writers.WrittenPrompter`."""


def load_human(spec: Spec[Human] = "greedy", **options: Any) -> Human:
    """The simulated user of a spec such as ``softmax:temperature=0.05``; a user itself is returned unchanged.

    Raises:
        ValueError: an unknown name or option, or a value that an option can't have.
    """
    if not isinstance(spec, str | Mapping):
        return own_part("human", spec, "id", "choose")
    human: Human = build(HUMANS, spec, options)
    return human


def load_prompter(spec: Spec[Prompter] = "attribute", **options: Any) -> Prompter:
    """The simulated user of a spec such as ``blind:synonym_rate=0.8``, who writes prompts by rule.

    Raises:
        ValueError: an unknown name or option, or a value that an option can't have.
    """
    if not isinstance(spec, str | Mapping):
        return own_part("prompter", spec, "name", "training_seed", "start", "write")
    prompter: Prompter = build(PROMPTERS, spec, options)
    return prompter
