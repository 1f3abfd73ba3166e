"""Make the warm start of agents that propose: ``python -m experiments.proposer``, then ``agent.warm_start=…``."""

from __future__ import annotations

from experiments.proposer.options import ProposerOptions
from experiments.run import Run, command


@command(ProposerOptions)
def main(options: ProposerOptions, run: Run) -> None:
    """Make the images that aren't there yet, fit the proposer, and write it."""
    from steer_env.compatibility import mend_torchvision

    mend_torchvision()
    from experiments.proposer.making import make_proposer

    for name, value in make_proposer(options).items():
        print(f"{name}: {value:.4f}")


if __name__ == "__main__":
    main()
