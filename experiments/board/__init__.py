"""The board in leaderboard/, as a command; see ``python -m experiments.board --help``."""
