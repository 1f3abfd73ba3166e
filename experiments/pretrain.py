"""Make the embedded generator and metric again: ``python -m experiments.pretrain assets=steer_env/assets``."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from conf import schema
from experiments.runs import application
from pretraining.cards import write_cards
from pretraining.stages import PretrainConfig, pretrain

schema.store("pretrain", PretrainConfig)


@application("pretrain")
def main(config: Any) -> None:
    """Run the stages that haven't been run in the work folder, and write the assets with their cards."""
    typed = OmegaConf.to_object(config)
    assert isinstance(typed, PretrainConfig)
    figures = pretrain(typed)
    write_cards(typed, figures)
    for name, value in figures.items():
        print(f"{name}: {value:.4f}")


if __name__ == "__main__":
    main()
