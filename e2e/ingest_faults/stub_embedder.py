"""A STUB of an embedding server: TEI's API over no model, as a program of its own.

`python -m e2e.ingest_faults.stub_embedder --port N [--dimensions 16]`. It counts calls and texts (`GET /stub/counts`),
can be slow (`POST /stub/slow {"seconds": s}`), and answers by markers in a text: `stub-429` with 429, `stub-422` with
a refusal of that text, `stub-nan` with a vector that is not finite. It shows nothing of a real model's speed or memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from e2e.ingest_faults import stub_vectors
from e2e.ingest_faults.stub_vectors import NOT_FINITE, OVERLOADED, REFUSED

RETRY_AFTER_SECONDS = 1
BATCH_SIZE = 32


@dataclass
class Counts:
    """What was asked for since the start: requests to /embed, texts in them, and those that got a vector."""

    calls: int = 0
    texts: int = 0
    embedded: int = 0
    tokenize_calls: int = 0


class Stub:
    """The routes and their state."""

    def __init__(self, dimensions: int, max_input_tokens: int) -> None:
        self.counts = Counts()
        self._dimensions = dimensions
        self._max_input_tokens = max_input_tokens
        self._slow = 0.0

    def app(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            Route("/health", _healthy),
            Route("/info", self._info),
            Route("/embed", self._embed, methods=["POST"]),
            Route("/tokenize", self._tokenize, methods=["POST"]),
            Route("/stub/counts", self._counted),
            Route("/stub/slow", self._slower, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def _info(self, _: Request) -> Response:
        return _json(
            {
                "model_id": stub_vectors.MODEL,
                "model_sha": "1",
                "max_input_length": self._max_input_tokens,
                "max_client_batch_size": BATCH_SIZE,
                "max_batch_tokens": BATCH_SIZE * self._max_input_tokens,
            }
        )

    async def _embed(self, request: Request) -> Response:
        texts: list[str] = json.loads(await request.body())["inputs"]
        self.counts.calls += 1
        self.counts.texts += len(texts)
        if self._slow:
            await asyncio.sleep(self._slow)
        if any(OVERLOADED in text for text in texts):
            return _json({"error": "Model is overloaded", "error_type": "Overloaded"}, 429, RETRY_AFTER_SECONDS)
        if any(REFUSED in text for text in texts):
            return _json({"error": "Input validation error: refused", "error_type": "Validation"}, 422)
        for text in texts:
            tokens = len(stub_vectors.spans(text)) + stub_vectors.SPECIAL_TOKENS
            if tokens > self._max_input_tokens:
                said = f"`inputs` must have less than {self._max_input_tokens} tokens. Given: {tokens}"
                return _json({"error": f"Input validation error: {said}", "error_type": "Validation"}, 413)
        self.counts.embedded += len(texts)
        return _json([self._vector(text) for text in texts])

    async def _tokenize(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.counts.tokenize_calls += 1
        return _json([_tokens(text, special=bool(body.get("add_special_tokens", True))) for text in body["inputs"]])

    async def _counted(self, _: Request) -> Response:
        return _json(vars(self.counts))

    async def _slower(self, request: Request) -> Response:
        self._slow = float(json.loads(await request.body())["seconds"])
        return _json({"seconds": self._slow})

    def _vector(self, text: str) -> list[float]:
        if NOT_FINITE in text:
            return [math.nan] * self._dimensions
        return [float(each) for each in stub_vectors.vector(text, self._dimensions)]


async def _healthy(_: Request) -> Response:
    return Response(status_code=200)


def _tokens(text: str, *, special: bool) -> list[dict[str, Any]]:
    """Tokens as TEI tells them: places in bytes of UTF-8, special tokens nowhere."""
    places = [0]
    for character in text:
        places.append(places[-1] + len(character.encode()))
    found: list[dict[str, Any]] = [
        {"id": 7, "text": text[start:end], "special": False, "start": places[start], "stop": places[end]}
        for start, end in stub_vectors.spans(text)
    ]
    if special:
        edge: dict[str, Any] = {"id": 1, "text": "[S]", "special": True, "start": None, "stop": None}
        found = [edge, *found, edge]
    return found


def _json(body: Any, status: int = 200, retry_after: int | None = None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Response(json.dumps(body), status, headers, media_type="application/json")


def main() -> None:
    """Serve on loopback until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m e2e.ingest_faults.stub_embedder", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    parser.add_argument("--dimensions", type=int, default=stub_vectors.DIMENSIONS, help="length of a vector, 8 to 384")
    parser.add_argument("--max-input-tokens", type=int, default=stub_vectors.MAX_INPUT_TOKENS)
    options = parser.parse_args()
    if not 8 <= options.dimensions <= stub_vectors.MOST_DIMENSIONS:
        parser.error(f"--dimensions {options.dimensions} is not between 8 and {stub_vectors.MOST_DIMENSIONS}")
    app = Stub(options.dimensions, options.max_input_tokens).app()
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", timeout_graceful_shutdown=2, http="h11")


if __name__ == "__main__":
    main()
