"""Simulated users fitted to people, as a command; see ``python -m experiments.fit_users --help``."""
