"""Immutable tables from names to parts, whose errors name what exists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping; an unknown name raises a ValueError with the names that exist and the nearest one.

    >>> Registry("solver", {"ddim": 1, "euler": 2})["dim"]
    Traceback (most recent call last):
    ...
    ValueError: unknown solver 'dim'; did you mean 'ddim'? There are: ddim, euler
    """

    def __init__(self, kind: str, members: Mapping[str, T]) -> None:
        self._kind, self._members = kind, dict(members)

    def __getitem__(self, name: str) -> T:
        if name not in self._members:
            nearest = get_close_matches(str(name), self._members, n=1)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            known = ", ".join(self._members)
            raise ValueError(f"unknown {self._kind} {name!r}; {hint}There are: {known}")
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)
