"""What the operator reads of things beside the cluster's own objects: keys of Secrets, model servers, running pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lectern_operator.facts import Unknown


@dataclass(frozen=True, slots=True)
class Denied(Unknown):
    """The operator has no right to read it."""


@dataclass(frozen=True, slots=True)
class Unauthorised(Unknown):
    """The server refuses our credentials."""


@dataclass(frozen=True, slots=True, repr=False)
class Content:
    """Keys and values of a Secret or ConfigMap; the values never appear in a text."""

    values: Mapping[str, bytes]

    def text(self, key: str) -> str | None:
        """Return the value of `key` without the line break at its end; None when there is none or it is no text."""
        value = self.values.get(key)
        if value is None:
            return None
        try:
            return value.decode().strip()
        except UnicodeDecodeError:
            return None

    def __repr__(self) -> str:
        """Return the keys alone."""
        return f"Content({', '.join(sorted(self.values))})"


@dataclass(frozen=True, slots=True)
class EmbedderFacts:
    """What an embedding server says of itself; None where its protocol does not tell.

    `dimensions` is the length of a vector that it really returned, `max_input_tokens` its longest input,
    `max_batch` the inputs that one request may carry.
    """

    dimensions: int
    max_input_tokens: int | None
    max_batch: int | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a running process says at `/configz`."""

    config_hash: str
    schema_version: int
