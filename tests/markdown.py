"""Tables as reports print them."""

import re


def compact(markdown: str) -> str:
    """Without the padding that lines up the columns.

    >>> compact("| policy   | n   |")
    '| policy | n |'
    """
    return re.sub(r" +\|", " |", markdown)
