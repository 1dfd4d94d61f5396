"""A model for tests of the server around it: words for tokens, vectors that tell the ids, passes that can be held."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from lectern_runtime.embedding_server.engine import Ids, Model, Pass, Token
from lectern_runtime.errors import EmbedderFailed
from lectern_runtime.ports import Vectors

HELD_SECONDS = 20.0
DIMENSIONS = 4


class WordModel:
    """An `Engine`. `passes` has the ids of each pass; while `free` is not set, every pass waits for it."""

    model = Model(name="acme/words", revision="c0ffee", dtype="float32", pooling="mean", longest=8)

    def __init__(self) -> None:
        self.passes: list[list[list[int]]] = []
        self.fault: Exception | None = None
        self.free = threading.Event()
        self.free.set()

    def tokens(self, text: str, *, special: bool) -> list[Token]:
        """Words without places."""
        return [Token(number, "", False, 0, 1) for number in self.encode(text, special=special)]

    def encode(self, text: str, *, special: bool) -> list[int]:
        """The length of each word, between 101 and 102."""
        words = [len(word) for word in text.split()]
        return [101, *words, 102] if special else words

    def decode(self, ids: Sequence[int], *, skip_special: bool) -> str:
        """Words as long as the ids are large."""
        return " ".join("x" * number for number in ids if not skip_special or number < 100)

    def shortened(self, ids: list[int], *, special: bool, left: bool) -> list[int]:
        """The beginning."""
        return ids[: self.model.longest]

    def plan(self, inputs: Sequence[Sequence[int]]) -> list[Pass]:
        """One input a pass, shortest first."""
        order = sorted(range(len(inputs)), key=lambda row: len(inputs[row]))
        return [Pass((row,), np.array([inputs[row]], np.int32)) for row in order]

    def forward(self, ids: Ids) -> Vectors:
        """The sum of the ids of each row, as a direction."""
        assert self.free.wait(HELD_SECONDS)
        self.passes.append(ids.tolist())
        if self.fault is not None:
            raise self.fault
        rows = np.ones((len(ids), DIMENSIONS), np.float32)
        rows[:, 0] = ids.sum(axis=1)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def memory_ran_out() -> EmbedderFailed:
    """A fault of the model."""
    return EmbedderFailed("acme/words could not run; free memory", dependency="embedder")
