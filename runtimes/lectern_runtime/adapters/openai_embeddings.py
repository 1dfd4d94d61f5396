"""An embedding model behind an OpenAI-compatible `/v1/embeddings`, such as vLLM's, as the `Embedder` of the runtimes.

The protocol tells neither limits nor tokens. The longest input comes from the settings, and tokens are counted by a
rule that errs on the long side: words in pieces of three letters. So chunks come out somewhat shorter than asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lectern_contract.settings import EmbedderSettings, ModelServerSettings
from lectern_runtime.adapters import model_server, text_windows
from lectern_runtime.adapters.model_server import ModelServer, Refusal
from lectern_runtime.errors import InputTooLong
from lectern_runtime.ports import EmbedderInfo, Vectors

MAX_BATCH_SIZE = 32
PROBE = "dimensions"
"""What is embedded to see how long a vector is: a word of no one's documents."""
PIECE = re.compile(r"[A-Za-z]{1,3}|[^\sA-Za-z]")
"""What counts as a token: up to three letters, or any other character that is not white space."""
_REFUSABLE = (400, 413, 422)
_LIMIT = re.compile(r"maximum (?:context|input|model) length (?:is|of) (\d+)")
_GIVEN = re.compile(r"(?:requested|resulted in|has|contains|given:?) (?:about )?(\d+)(?: input)? tokens", re.IGNORECASE)


class OpenAiEmbedder:
    """The `Embedder` of an OpenAI-compatible server."""

    def __init__(self, settings: EmbedderSettings, server: ModelServer, *, root: str) -> None:
        self._settings = settings
        self._server = server
        self._path = f"{root}/embeddings"
        self._dimensions: int | None = None

    @classmethod
    def open(cls, settings: EmbedderSettings, source: ModelServerSettings) -> OpenAiEmbedder:
        """Return the embedder; `url` may or may not end in /v1, for both are in use."""
        root = "" if source.url.rstrip("/").endswith("/v1") else "/v1"
        return cls(settings, ModelServer(source), root=root)

    async def info(self) -> EmbedderInfo:
        """Return the limits that the settings tell and the measured length of a vector; raises EmbedderFailed."""
        if self._dimensions is None:
            body = {"model": self._settings.model, "input": [PROBE], "encoding_format": "float"}
            (row,) = self._rows(await self._server.post(self._path, body, refusable=()), 1)
            try:
                self._dimensions = len(row)
            except TypeError as error:
                raise self._unspoken() from error
        longest = self._settings.max_input_tokens
        return EmbedderInfo(
            model=self._settings.model,
            revision=self._settings.revision,
            dimensions=self._dimensions,
            max_input_tokens=longest,
            max_batch_size=MAX_BATCH_SIZE,
            max_batch_tokens=MAX_BATCH_SIZE * longest,
        )

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row of length 1 per text, in order.

        Raises InputTooLong, DocumentError for a text that is refused by itself, and EmbedderFailed.
        """
        parts: list[Vectors] = []
        done = 0
        for call in model_server.calls(text_windows.unicode(texts), most=MAX_BATCH_SIZE):
            rows = await model_server.split(call, self._embedded, self._alone, first=done)
            parts.append(model_server.normalised(self._server, rows, dimensions=self._settings.dimensions))
            done += len(call)
        return np.concatenate(parts) if parts else np.empty((0, self._settings.dimensions), np.float32)

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """Return for each text the character spans of its pieces, of which there are hardly fewer than tokens."""
        return [[found.span() for found in PIECE.finditer(text)] for text in text_windows.unicode(texts)]

    async def close(self) -> None:
        """Close the connections; later calls raise EmbedderFailed."""
        await self._server.close()

    async def _embedded(self, texts: Sequence[str]) -> list[Any] | Refusal:
        body = {"model": self._settings.model, "input": list(texts), "encoding_format": "float"}
        self._server.asked_for("openai")
        answer = await self._server.post(self._path, body, refusable=_REFUSABLE)
        return answer if isinstance(answer, Refusal) else self._rows(answer, len(texts))

    def _rows(self, answer: Any, count: int) -> list[Any]:
        """The vectors in the order of the texts: the answer numbers them."""
        try:
            rows = {int(each["index"]): each["embedding"] for each in answer["data"]}
            return [rows[index] for index in range(count)]
        except (KeyError, TypeError, ValueError) as error:
            raise self._unspoken() from error

    def _unspoken(self) -> Exception:
        return self._server.failed("does not speak the OpenAI protocol; check spec.embedding.server")

    def _alone(self, index: int, refusal: Refusal) -> Exception:
        limit = _LIMIT.search(refusal.said)
        if limit is None:
            return model_server.not_embedded(self._server, index, refusal)
        given = _GIVEN.search(refusal.said)
        longest = int(limit[1])
        return InputTooLong(index=index, tokens=int(given[1]) if given else longest + 1, limit=longest)
