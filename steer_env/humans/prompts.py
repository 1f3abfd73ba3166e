"""What a prompt may hold; from a language model's answer to a prompt, and the seeds of its draws."""

from __future__ import annotations

import numpy as np

CHARACTERS = "".join(
    chr(code)
    for codes in (range(0x20, 0x530), range(0x2010, 0x2045), (0x20AC, 0x2122))
    for code in codes
    if chr(code).isprintable()
)
"""What a prompt may hold: the Latin, Greek and Cyrillic scripts, and the punctuation that word processors put."""

_LONGEST = 1000
_QUOTES = "\"'`“”‘’ \t\n"


def prompt_in(answer: str) -> str:
    """The prompt in an answer: one line of at most 1,000 characters, without quotation marks around it.

    >>> prompt_in('"Nine red\\nstars."')
    'Nine red stars.'
    """
    return " ".join(answer.split()).strip(_QUOTES)[:_LONGEST].strip()


def attempt_seed(episode: int, *place: int) -> int:
    """A seed of an episode's own for each place in it, such as the number of the attempt."""
    return int(np.random.SeedSequence([episode, *place]).generate_state(1)[0] >> 1)
