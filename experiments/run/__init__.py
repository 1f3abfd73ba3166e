"""What commands share: their options, the run's folder and its resume, and the playing of policies."""

from experiments.run.command import command
from experiments.run.console import console, draw, say
from experiments.run.folder import Run
from experiments.run.options import (
    REQUIRED,
    EnvOptions,
    PlayOptions,
    ProgramOptions,
    RunOptions,
    choice,
    option,
    part,
    test_env,
)
