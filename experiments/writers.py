"""Language models, as a configuration names them."""

from __future__ import annotations

from typing import Any

from steer_env.humans.writers import Writer, load_writer


def configured_writer(config: Any) -> Writer | None:
    """The language model of a part of a configuration; None where there is to be none.

    Raises:
        ValueError, WriterError: as :func:`steer_env.humans.writers.load_writer`.
    """
    own = {str(name): value for name, value in config.items() if name != "kind"}
    return None if config.kind == "none" else load_writer(config.kind, **own)
