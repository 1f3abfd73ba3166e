"""A study with real people, in a browser, as a command; see ``python -m experiments.people --help``."""
