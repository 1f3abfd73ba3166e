"""How the embedded generator and metric were made, as a command; see ``python -m experiments.pretrain --help``."""
