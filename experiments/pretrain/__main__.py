"""Make the embedded generator and metric again: ``python -m experiments.pretrain assets=steer_env/assets``."""

from __future__ import annotations

from experiments.pretrain.options import PretrainOptions
from experiments.run import Run, command
from steer_env.compatibility import mend_torchvision


@command(PretrainOptions)
def main(options: PretrainOptions, run: Run) -> dict[str, float]:
    """Run the stages that haven't been run in the work folder, and write the assets with their cards."""
    mend_torchvision()
    from experiments.pretrain.cards import write_cards
    from experiments.pretrain.stages import pretrain

    figures = pretrain(options)
    write_cards(options, figures)
    return figures


if __name__ == "__main__":
    main()
