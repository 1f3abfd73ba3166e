"""Options of simulated users, and of language models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from steer_env.limits import Limited, option
from steer_env.registry import AUTO
from steer_env.servers import ServerOptions


@dataclass
class SoftmaxOptions(Limited):
    """Picks image i with probability ∝ exp(similarityᵢ / temperature): Bradley–Terry choice among 1 + K images.

    Args:
        temperature: in units of similarity. The default is that of the annotators of the paper's study, who preferred
            the later of two images with log-odds 7.65 per unit of DreamSim similarity.
        stay: bias to the current image, as if it were so much more similar; negative for a user who likes change.
    """

    temperature: float = option(0.13, least=1e-6, most=1e6)
    stay: float = option(0.0, least=-100, most=100)


@dataclass
class HesitantOptions(Limited):
    """Moves to the most similar proposal only if it beats the current image by a just-noticeable difference.

    Args:
        threshold: that difference, in units of similarity.
    """

    threshold: float = option(0.02, least=0, most=100)


@dataclass
class PopulationOptions(Limited):
    """Each episode's user is drawn from a population, and is the same in all rounds of the episode.

    Args:
        members: each a human such as ``softmax:weight=0.4,temperature=0.13`` or ``{name: greedy, weight: 0.6}``, with
            ``weight``, its share of the population, 1 by default. Weights needn't sum to 1.
    """

    members: list[Any] = option(["greedy", "softmax"], length=1)


@dataclass
class RuleOptions(Limited):
    """A user who writes prompts for the embedded domain by a rule; the defaults are those of suites' first prompts.

    Args:
        synonym_rate: probability of another word for the same thing, in [0, 1].
        mistake_rate: probability of a similar but wrong colour in a new attribute, in [0, 1].
    """

    synonym_rate: float = option(0.4, least=0, most=1)
    mistake_rate: float = option(0.08, least=0, most=1)


@dataclass
class PersonOptions(Limited):
    """A user who sees the goal and rewrites prompts as people of the released study do: adds much, drops little.

    A rewrite goes on from the last prompt, as people's do even where an earlier one came closer. The defaults are what
    ``python -m experiments.fit_prompter`` printed; see docs/users.md for what they reproduce and what not.

    Args:
        named: probability in each rewrite, the first one's first, that a factor which the last prompt leaves open is
            named; the last one for all further rewrites.
        right: probability that what is newly named is what the goal has, rather than anything else.
        lost: probability that a rewrite drops a factor that is named rightly.
        taken_back: the same of one that is named wrongly.
        synonym_rate: probability of another word for the same thing.
    """

    named: list[float] = option([0.21, 0.18, 0.123, 0.111], least=0, most=1, length=1)
    right: float = option(0.79, least=0, most=1)
    lost: float = option(0.025, least=0, most=1)
    taken_back: float = option(0.079, least=0, most=1)
    synonym_rate: float = option(0.4, least=0, most=1)


@dataclass(kw_only=True)
class EndpointOptions(ServerOptions):
    """A language model behind a server that speaks OpenAI's protocol. Every answer is kept on disk.

    Args:
        model: as the server calls it.
        temperature, max_tokens: of the answers.
        cache: file of the answers; empty for none.

    The others are those of all servers; an answer has 1 MB at most.
    """

    model: str
    temperature: float = option(1.0, least=0, most=100)
    max_tokens: int = option(300, least=1, most=1_000_000)
    cache: str = "outputs/answers.sqlite"


@dataclass
class LocalOptions(Limited):
    """Any causal language model that transformers reads, on this machine.

    Args:
        path: a local folder, or a hub id. Only safetensors are read, and no code that comes with them is run.
        device: where it runs: cpu, cuda, cuda:1; auto for a GPU if there is one.
        dtype: precision of its weights: float32, float16 or bfloat16; auto for half precision on a
            GPU, and float32 elsewhere.
        temperature: of the draws; 0 for the likeliest words.
        max_tokens: of an answer.
    """

    path: str
    device: str = AUTO
    dtype: str = AUTO
    temperature: float = option(1.0, least=0, most=100)
    max_tokens: int = option(300, least=1, most=1_000_000)
