"""Make the warm start of agents that propose: ``python -m experiments.proposer``, then ``agent.warm_start=…``."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.run import ProgramOptions, Run, command, option
from experiments.run.options import Budget
from steer_env.compatibility import mend_torchvision


@dataclass
class ProposerOptions(ProgramOptions):
    """Make the warm start of agents that propose (agent.warm_start); a command that was stopped goes on where it was.

    Args:
        seed: of the codebook, the weights and the order of images.
        suite: whose users' prompts the images are of.
        codes: directions of the codebook.
        leash: of env.action=directions, which the images are made with.
        scales: at which a proposal may be the mixture's instead.
        hopes: of each round, how much better than the image held the mixture's proposals are hoped to be at first; as
            many as an episode has rounds.
        shards: files of images that are predicted (studio=predicted), at a quarter of the cost.
        made: files of images that are made; half of the training's batches are of them.
        prompts: of a file, each with 16 of the codes.
        held_out: prompts of the first file of images that are made, which only the figures are computed on.
        likeness: weight of the second part of the loss, errors of similarities among images of one prompt.
        work: folder for the images and snapshots.
        target: file that receives codebook and network.
        budget: how long to train; a batch is of as many images, 16 a prompt.
    """

    seed: int = option(0, least=0)
    suite: str = "tiles-train-v1"
    codes: int = option(128, least=16)
    leash: float = option(0.99, least=0, most=0.999)
    scales: list[float] = option([0.6, 0.8, 1.0], least=0, most=1)
    hopes: list[float] = option([0.0, 0.0, 0.0, 0.0], length=1)
    shards: int = option(16, least=1, most=100)
    made: int = option(5, least=1, most=100)
    prompts: int = option(256, least=1)
    held_out: int = option(64, least=1)
    likeness: float = option(4.0, least=0)
    work: str = "outputs/pretrain/proposer"
    target: str = "outputs/pretrain/proposer/proposer.safetensors"
    budget: Budget = field(
        default_factory=lambda: Budget(steps=3000, batch_size=512, learning_rate=2e-3, ema_decay=0.98, weight_decay=0.1)
    )


@command(ProposerOptions)
def main(options: ProposerOptions, run: Run) -> dict[str, float]:
    """Make the images that aren't there yet, fit the proposer, and write it."""
    mend_torchvision()
    from experiments.proposer.making import make_proposer

    return make_proposer(options)


if __name__ == "__main__":
    main()
