"""An embedding model behind Text Embeddings Inference, as the `Embedder` of worker and query runtime.

The server tells its limits at `/info` and its tokens at `/tokenize`. It is asked never to truncate: a text that is too
long is an error, as everywhere in Lectern.
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

WINDOW_CHARACTERS = 16_384
"""What the server tokenises as one input: its answer takes some 80 bytes a token."""
PROBE = "dimensions"
"""What is embedded to see how long a vector is: a word of no one's documents."""
_REFUSABLE = (413, 422)
_TOO_LONG = re.compile(r"must have less than (\d+) tokens. Given: (\d+)")
Spans = list[tuple[int, int]]


class TeiEmbedder:
    """The `Embedder` of a TEI server; its limits are read once, on first use."""

    def __init__(self, settings: EmbedderSettings, server: ModelServer) -> None:
        self._settings = settings
        self._server = server
        self._info: EmbedderInfo | None = None

    @classmethod
    def open(cls, settings: EmbedderSettings, source: ModelServerSettings) -> TeiEmbedder:
        """Return the embedder; the server is not asked before the first call."""
        return cls(settings, ModelServer(source))

    async def info(self) -> EmbedderInfo:
        """Return what the server says of itself, and the measured length of its vectors."""
        if self._info is None:
            told = await self._server.get("/info")
            probe: Any = await self._server.post("/embed", _inputs([PROBE]), refusable=())
            try:
                self._info = EmbedderInfo(
                    model=str(told["model_id"]),
                    revision=str(told.get("model_sha") or ""),
                    dimensions=len(probe[0]),
                    max_input_tokens=int(told["max_input_length"]),
                    max_batch_size=max(1, int(told["max_client_batch_size"])),
                    max_batch_tokens=max(1, int(told["max_batch_tokens"])),
                )
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                raise self._server.failed("does not speak TEI's protocol; check spec.embedding.server") from error
        return self._info

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row of length 1 per text, in order.

        Raises InputTooLong, DocumentError for a text that is refused by itself, and EmbedderFailed.
        """
        ordered = text_windows.unicode(texts)
        info = await self.info()
        parts: list[Vectors] = []
        done = 0
        for call in model_server.calls(ordered, most=info.max_batch_size):
            rows = await model_server.split(call, self._embedded, self._alone, first=done)
            parts.append(model_server.normalised(self._server, rows, dimensions=self._settings.dimensions))
            done += len(call)
        return np.concatenate(parts) if parts else np.empty((0, self._settings.dimensions), np.float32)

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """Return for each text the character spans of its tokens, without special ones; raises EmbedderFailed."""
        info = await self.info()
        spans: list[Spans] = [[] for _ in texts]
        pieces = [
            (row, start, text[start:end])
            for row, text in enumerate(text_windows.unicode(texts))
            for start, end in text_windows.windows(text, WINDOW_CHARACTERS)
            if end > start  # the server refuses an empty input
        ]
        done = 0
        for call in model_server.calls([piece for *_, piece in pieces], most=info.max_batch_size):
            tokens = await model_server.split(call, self._tokenized, self._alone, first=done)
            for (row, start, piece), found in zip(pieces[done : done + len(call)], tokens, strict=True):
                spans[row] += [(start + first, start + last) for first, last in self._spans(piece, found)]
            done += len(call)
        return spans

    async def close(self) -> None:
        """Close the connections; later calls raise EmbedderFailed."""
        await self._server.close()

    async def _embedded(self, texts: Sequence[str]) -> list[Any] | Refusal:
        return self._listed(await self._server.post("/embed", _inputs(texts), refusable=_REFUSABLE), texts)

    async def _tokenized(self, texts: Sequence[str]) -> list[Any] | Refusal:
        body = {"inputs": list(texts), "add_special_tokens": False}
        return self._listed(await self._server.post("/tokenize", body, refusable=_REFUSABLE), texts)

    def _listed(self, answer: Any, texts: Sequence[str]) -> list[Any] | Refusal:
        if isinstance(answer, Refusal):
            return answer
        if not isinstance(answer, list) or len(answer) != len(texts):
            raise self._server.failed(f"does not answer each of {len(texts)} texts; check spec.embedding.server")
        return answer

    def _alone(self, index: int, refusal: Refusal) -> Exception:
        if (found := _TOO_LONG.search(refusal.said)) is not None:
            return InputTooLong(index=index, tokens=int(found[2]), limit=int(found[1]))
        return model_server.not_embedded(self._server, index, refusal)

    def _spans(self, text: str, tokens: Any) -> Spans:
        """Character spans of tokens whose places the server counts in bytes of UTF-8."""
        try:
            places = [(int(token["start"]), int(token["stop"])) for token in tokens if not token["special"]]
            if text.isascii():
                spans = places
            else:
                characters = _characters(text)
                spans = [(characters[start], characters[max(start, stop - 1)] + 1) for start, stop in places]
            if any(not 0 <= start <= stop <= len(text) for start, stop in spans):
                raise ValueError("a token lies outside the text")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._server.failed("does not tell the places of tokens; check spec.embedding.server") from error
        return spans


def _inputs(texts: Sequence[str]) -> dict[str, Any]:
    return {"inputs": list(texts), "truncate": False, "normalize": True}


def _characters(text: str) -> list[int]:
    """For each byte of the text in UTF-8, and for its end, the number of the character that it belongs to."""
    return [*(number for number, character in enumerate(text) for _ in character.encode()), len(text)]
