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
CHARACTERS_PER_TOKEN = 250
"""The server refuses an input with more characters than this times the model's tokens before it counts those."""
SPECIAL_TOKENS = 8
"""No model puts more around a text."""
_REFUSABLE = (413, 422)
_TOO_LONG = re.compile(r"must have less than (\d+) tokens. Given: (\d+)")
Spans = list[tuple[int, int]]


class TeiEmbedder:
    """The `Embedder` of a TEI server; its limits are read once, on first use."""

    def __init__(self, settings: EmbedderSettings, server: ModelServer) -> None:
        self._settings = settings
        self._server = server
        self._info: EmbedderInfo | None = None
        self._special: int | None = None

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

        Texts of like length go together, in calls that the server can take as one batch. Raises InputTooLong,
        DocumentError for a text that is refused by itself, and EmbedderFailed.
        """
        info = await self.info()
        given = text_windows.unicode(texts)
        await self._refuse_hopeless(given, info)
        # A token takes at least one byte of its text, so a call never has more tokens than are counted here.
        sizes = [len(text.encode()) + SPECIAL_TOKENS for text in given]
        order = sorted(range(len(given)), key=sizes.__getitem__)
        vectors = np.empty((len(given), self._settings.dimensions), np.float32)
        done = 0
        for call in model_server.calls(
            [given[index] for index in order],
            most=info.max_batch_size,
            tokens=[min(info.max_input_tokens, sizes[index]) for index in order],
            most_tokens=info.max_batch_tokens,
        ):
            rows = await model_server.split(
                call, self._embedded, lambda place, refusal: self._alone(order[place], refusal), first=done
            )
            vectors[order[done : done + len(call)]] = model_server.normalised(
                self._server, rows, dimensions=self._settings.dimensions
            )
            done += len(call)
        return vectors

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """Return for each text the character spans of its tokens, without special ones; raises EmbedderFailed."""
        given = text_windows.unicode(texts)
        info = await self.info()
        await self._special_tokens()
        spans: list[Spans] = [[] for _ in texts]
        most = min(WINDOW_CHARACTERS, info.max_input_tokens * CHARACTERS_PER_TOKEN)
        pieces = [
            (row, start, text[start:end])
            for row, text in enumerate(given)
            for start, end in text_windows.windows(text, most)
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

    async def _refuse_hopeless(self, texts: Sequence[str], info: EmbedderInfo) -> None:
        """Raise the error of a text that the server would refuse without counting its tokens."""
        most = info.max_input_tokens * CHARACTERS_PER_TOKEN
        for index, text in enumerate(texts):
            if not text:
                raise model_server.not_embedded(self._server, index, Refusal(400, "empty"))
            if len(text) > most:
                (spans,) = await self.tokenize([text])
                tokens = len(spans) + await self._special_tokens()
                if tokens > info.max_input_tokens:
                    raise InputTooLong(index=index, tokens=tokens, limit=info.max_input_tokens)

    async def _special_tokens(self) -> int:
        """How many tokens the model puts around a text; asked once, together with whether places can be trusted.

        A server that puts a prompt before each text would count places from there.
        """
        if self._special is None:
            body = {"inputs": [PROBE], "add_special_tokens": True}
            answer = self._listed(await self._server.post("/tokenize", body, refusable=()), [PROBE])
            assert not isinstance(answer, Refusal)
            places = self._places(answer[0])
            if not places or (places[0][0], places[-1][1]) != (0, len(PROBE)):
                raise self._server.failed("counts the places of tokens from elsewhere; run it without a default prompt")
            self._special = len(answer[0]) - len(places)
        return self._special

    async def _embedded(self, texts: Sequence[str]) -> list[Any] | Refusal:
        self._server.asked_for("text-embeddings-inference")
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

    def _places(self, tokens: Any) -> Spans:
        """Where tokens begin and end, in bytes of UTF-8; special tokens are nowhere and left out."""
        try:
            return [(int(token["start"]), int(token["stop"])) for token in tokens if not token["special"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._server.failed("does not tell the places of tokens; check spec.embedding.server") from error

    def _spans(self, text: str, tokens: Any) -> Spans:
        """Character spans of tokens."""
        places = self._places(tokens)
        try:
            if text.isascii():
                spans = places
            else:
                characters = _characters(text)
                spans = [(characters[start], characters[max(start, stop - 1)] + 1) for start, stop in places]
            if any(not 0 <= start <= stop <= len(text) for start, stop in spans):
                raise ValueError("a token lies outside the text")
        except (IndexError, ValueError) as error:
            raise self._server.failed("does not tell the places of tokens; check spec.embedding.server") from error
        return spans


def _inputs(texts: Sequence[str]) -> dict[str, Any]:
    return {"inputs": list(texts), "truncate": False, "normalize": True}


def _characters(text: str) -> list[int]:
    """For each byte of the text in UTF-8, and for its end, the number of the character that it belongs to."""
    return [*(number for number, character in enumerate(text) for _ in character.encode()), len(text)]
