"""What the server needs of a model, and the limits that it keeps; an adapter implements `Engine`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lectern_runtime.ports import Vectors

Ids = NDArray[np.int32]
CHARACTERS_PER_TOKEN = 250
"""An input with more characters than this times the model's tokens is refused before it is tokenised."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text: `start` and `stop` count bytes of the text in UTF-8; None for a special token."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


@dataclass(frozen=True, slots=True)
class Model:
    """What `/info` tells of the model; `longest` is the tokens of an input, special ones included."""

    name: str
    revision: str
    dtype: str
    pooling: str
    longest: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes; names and meaning are those of TEI's options.

    `max_concurrent_requests` counts inputs that wait or are worked on, `payload_limit` bytes of a request's body.
    """

    max_concurrent_requests: int = 512
    max_client_batch_size: int = 32
    max_batch_tokens: int = 4096
    payload_limit: int = 2_000_000
    auto_truncate: bool = False


@dataclass(frozen=True, slots=True)
class Pass:
    """Inputs that go through the model together: their places in what was planned, ids (rows, tokens)."""

    rows: tuple[int, ...]
    ids: Ids


class Engine(Protocol):
    """A model and its tokenizer; every method may be called from several threads at once."""

    @property
    def model(self) -> Model:
        """What the model is."""

    def tokens(self, text: str, *, special: bool) -> list[Token]:
        """Return the tokens of a text, with those that the model wants around it where `special`."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return the ids of the tokens of a text."""

    def decode(self, ids: Sequence[int], *, skip_special: bool) -> str:
        """Return the text of ids; those that are no token's are left out."""

    def shortened(self, ids: list[int], *, special: bool, left: bool) -> list[int]:
        """Return the ids cut to the model's longest input, at their beginning where `left`."""

    def plan(self, inputs: Sequence[Sequence[int]]) -> list[Pass]:
        """Cut inputs into passes, short inputs first."""

    def forward(self, ids: Ids) -> Vectors:
        """Return one vector of length 1 per row; raises EmbedderFailed."""
