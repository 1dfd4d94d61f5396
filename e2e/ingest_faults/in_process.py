"""The STUB of an embedding model in process: what the stub server answers, without the server."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from e2e.ingest_faults import stub_vectors
from e2e.ingest_faults.stub_vectors import DIMENSIONS, MAX_INPUT_TOKENS, MODEL, REFUSED
from lectern_contract.errors import DocumentError
from lectern_runtime.ports import EmbedderInfo, Vectors

BATCH_SIZE = 32


class StubEmbedder:
    """An `Embedder` that counts the texts that it gave vectors for."""

    def __init__(self) -> None:
        self.texts = 0

    async def info(self) -> EmbedderInfo:
        """Limits of the stub."""
        return EmbedderInfo(MODEL, "1", DIMENSIONS, MAX_INPUT_TOKENS, BATCH_SIZE, BATCH_SIZE * MAX_INPUT_TOKENS)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector a text; raises DocumentError for one with the marker."""
        if any(REFUSED in text for text in texts):
            raise DocumentError("the stub refuses it", stage="embed", reason="TextRefused")
        self.texts += len(texts)
        return np.stack([stub_vectors.vector(text) for text in texts])

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """Places of tokens."""
        return [stub_vectors.spans(text) for text in texts]

    async def close(self) -> None:
        """Nothing is held."""
