"""Make the predictor of the learned mechanism: ``python -m experiments.predictor assets=steer_env/assets``."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.run import ProgramOptions, Run, command, option
from experiments.run.options import Budget
from steer_env.compatibility import mend_torchvision


@dataclass
class PredictorOptions(ProgramOptions):
    """Make the predictor of the learned mechanism; a command that was stopped goes on where it was.

    Args:
        seed: of the weights and of the order of pairs.
        suite: whose users' prompts the images are of.
        shards: files of pairs.
        prompts: of a shard, each with 8 latents.
        held_out: prompts of the first shard, which only the card's figures are computed on.
        likeness: weight of the second part of the loss, errors of similarities among images of one prompt.
        work: folder for the pairs and snapshots.
        assets: folder that receives ``tiles-predictor``.
        budget: how long to train; a batch is of as many images, 8 a prompt.
    """

    seed: int = option(0, least=0)
    suite: str = "tiles-train-v1"
    shards: int = option(16, least=1)
    prompts: int = option(512, least=1)
    held_out: int = option(64, least=1)
    likeness: float = option(4.0, least=0)
    work: str = "outputs/pretrain/predictor"
    assets: str = "outputs/pretrain/assets"
    budget: Budget = field(
        default_factory=lambda: Budget(steps=2000, batch_size=256, learning_rate=2e-3, ema_decay=0.98, weight_decay=0.1)
    )


@command(PredictorOptions)
def main(options: PredictorOptions, run: Run) -> dict[str, float]:
    """Make the pairs that aren't there yet, fit the predictor, and write the asset with its card."""
    mend_torchvision()
    from experiments.predictor.making import make_predictor

    return make_predictor(options)


if __name__ == "__main__":
    main()
