"""Make the predictor of the learned mechanism: ``python -m experiments.predictor assets=steer_env/assets``."""

from __future__ import annotations

from experiments.predictor.options import PredictorOptions
from experiments.run import Run, command


@command(PredictorOptions)
def main(options: PredictorOptions, run: Run) -> None:
    """Make the pairs that aren't there yet, fit the predictor, and write the asset with its card."""
    from steer_env.compatibility import mend_torchvision

    mend_torchvision()
    from experiments.predictor.making import make_predictor

    for name, value in make_predictor(options).items():
        print(f"{name}: {value:.4f}")


if __name__ == "__main__":
    main()
