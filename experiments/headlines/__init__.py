"""Steering language models to headlines (B.2), as a command; see ``python -m experiments.headlines --help``."""
