"""Running experiments as a user does."""

from tests.experiments.conftest import command

__all__ = ["command"]
