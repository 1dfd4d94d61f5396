"""A STUB of an embedding model in the worker's process: the real tokenizer over no model, vectors are digests of texts.

Figures that it takes part in say so: they are of everything but the model. A text with a marker in it fails, as a model
server may fail at a text, until the file `well_when` is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lectern_runtime.adapters import minilm_files
from lectern_runtime.adapters.onnx import DIMENSIONS, Ids, OnnxMiniLm, open_tokenizer
from lectern_runtime.errors import EmbedderFailed
from lectern_runtime.ports import EmbedderInfo, Vectors

OVERLOADED, NOT_FINITE = "stub-answers-429", "stub-answers-nan"
"""Words in a text that make the stub fail at it."""
RETRY_AFTER_SECONDS = 1.0


class StubEmbedder:
    """An `Embedder` without a model; `texts` counts those that got a vector, `calls` the calls."""

    def __init__(self, tokenizer: OnnxMiniLm, *, well_when: Path | None = None) -> None:
        self._tokenizer = tokenizer
        self._well_when = well_when
        self.calls = 0
        self.texts = 0

    @classmethod
    def open(cls, *, well_when: Path | None = None) -> StubEmbedder:
        """Load the tokenizer alone. Raises `ModelNotInstalled`."""
        files = minilm_files.find()
        tokenizer = OnnxMiniLm(_no_model, open_tokenizer(files), revision="stub", threads=1)
        return cls(tokenizer, well_when=well_when)

    async def info(self) -> EmbedderInfo:
        """Return the limits of the model that it stands for."""
        return await self._tokenizer.info()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one digest for each text; raises EmbedderFailed for a marker as an overloaded server would."""
        self.calls += 1
        ill = self._well_when is None or not self._well_when.exists()
        if ill and any(OVERLOADED in text for text in texts):
            raise EmbedderFailed(
                "the stub answers 429 to this text", dependency="embedder", retry_after_seconds=RETRY_AFTER_SECONDS
            )
        vectors = digests(texts)
        if ill:
            vectors[[NOT_FINITE in text for text in texts]] = np.nan
        self.texts += len(texts)
        return vectors

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """Return the spans of the real tokenizer."""
        return await self._tokenizer.tokenize(texts)

    async def close(self) -> None:
        """Release the tokenizer."""
        await self._tokenizer.close()


def digests(texts: Sequence[str]) -> Vectors:
    """Return one vector of length 1 for each text, equal for equal texts: shape (n, 384)."""
    data = b"".join(hashlib.shake_128(text.encode()).digest(DIMENSIONS) for text in texts)
    rows = np.frombuffer(data, np.uint8).reshape(len(texts), DIMENSIONS).astype(np.float32) - 127.5
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _no_model(_ids: Ids) -> Vectors:
    raise AssertionError("the stub has no model to run")
