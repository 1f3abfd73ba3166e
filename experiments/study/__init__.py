"""The paper's tables for its real people, as a command; see ``python -m experiments.study --help``."""
