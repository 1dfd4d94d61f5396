"""Keeps the values of a label few: a log may carry names that no resource of ours has."""

from __future__ import annotations

MOST_VALUES = 200
"""Different values of one label that a process tells apart."""
OTHER = "other"
"""Stands for all further ones."""
MOST_CHARACTERS = 63


class Bounded:
    """The first values of a label as they are, and one word for all others."""

    def __init__(self, most: int = MOST_VALUES) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """`value`, or `OTHER` when there are too many, or it is longer than a name can be."""
        if value in self._known:
            return value
        if len(self._known) >= self._most or len(value) > MOST_CHARACTERS:
            return OTHER
        self._known.add(value)
        return value
