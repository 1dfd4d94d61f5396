"""Doubles of embedding servers on a real port: words for tokens, digests for vectors, and faults when they are told.

They answer with the statuses and sentences of Text Embeddings Inference 1.9 and of vLLM. What
they cannot show: a real model's tokens and vectors, batching over time, gRPC.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIMENSIONS = 8
LONGEST = 12
"""Tokens of an input, special ones included."""
MOST_INPUTS = 4
MOST_BYTES = 60_000
Reply = tuple[int, Any]


@dataclass
class EmbeddingServer:
    """What a double does and what it was asked; `faults` are replies that come before any other."""

    url: str = ""
    api_key: str | None = None
    faults: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    vector: Any = None

    def inputs(self, path: str) -> list[int]:
        """How many inputs each request to `path` had."""
        return [len(body.get("inputs", body.get("input"))) for asked, body in self.asked if asked == path]

    def row(self, text: str) -> Any:
        """The vector of a text, not of length 1."""
        return self.vector or [byte + 1 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]


def tokens_of(text: str) -> list[tuple[int, int]]:
    """Character spans of the words of a text."""
    return [found.span() for found in re.finditer(r"\S+", text)]


def tei(server: EmbeddingServer, path: str, body: Any) -> Reply:
    """Text Embeddings Inference."""
    if path == "/info":
        limits = {"max_input_length": LONGEST, "max_client_batch_size": MOST_INPUTS, "max_batch_tokens": 400}
        return 200, {"model_id": "acme/words", "model_sha": "c0ffee", **limits}
    inputs = body["inputs"]
    if len(inputs) > MOST_INPUTS:
        return 422, _tei_error(f"batch size {len(inputs)} > maximum allowed batch size {MOST_INPUTS}", "Validation")
    if not all(inputs):
        return 422, _tei_error("`inputs` cannot be empty", "Validation")
    if path == "/tokenize":
        return 200, [[_special("[CLS]"), *map(_token(text), tokens_of(text))] for text in inputs]
    assert body["truncate"] is False
    for text in inputs:
        given = len(tokens_of(text)) + 2
        if given > LONGEST:
            said = f"`inputs` must have less than {LONGEST} tokens. Given: {given}"
            return 422, _tei_error(said, "Validation")
        if "unspeakable" in text:
            return 422, _tei_error("Tokenizer error", "Tokenizer")
    return 200, [server.row(text) for text in inputs]


def openai(server: EmbeddingServer, path: str, body: Any) -> Reply:
    """An OpenAI-compatible server; it gives vectors in any order, by number."""
    if path != "/v1/embeddings" or body["model"] != "words":
        return 404, {"error": {"message": "The model does not exist.", "code": 404}}
    for text in body["input"]:
        given = len(tokens_of(text)) + 2
        if given > LONGEST:
            said = f"This model's maximum context length is {LONGEST} tokens. However, you requested {given} tokens"
            return 400, {"error": {"message": said, "type": "BadRequestError", "code": 400}}
    rows = [{"index": index, "embedding": server.row(text)} for index, text in enumerate(body["input"])]
    return 200, {"object": "list", "data": rows[::-1]}


@contextmanager
def running(protocol: Any, *, api_key: str | None = None) -> Iterator[EmbeddingServer]:
    """Run a double of the server that speaks `protocol` until the block ends."""
    state = EmbeddingServer(api_key=api_key)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["content-length"])))

        def _answer(self, content: bytes | None) -> None:
            headers: dict[str, str] = {}
            body = None if content is None else json.loads(content)
            state.asked.append((self.path, body))
            if state.faults:
                status, answer, headers = state.faults.pop(0)
            elif state.api_key and self.headers["authorization"] != f"Bearer {state.api_key}":
                status, answer = 401, {"error": "Unauthorized"}
            elif content is not None and len(content) > MOST_BYTES:
                status, answer = 413, {"error": "length limit exceeded"}
            else:
                status, answer = protocol(state, self.path, body)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 the base class chooses the name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _token(text: str) -> Any:
    def token(span: tuple[int, int]) -> dict[str, Any]:
        start, stop = (len(text[:place].encode()) for place in span)
        return {"id": 7, "text": text[span[0] : span[1]], "special": False, "start": start, "stop": stop}

    return token


def _special(text: str) -> dict[str, Any]:
    return {"id": 1, "text": text, "special": True, "start": None, "stop": None}


def _tei_error(said: str, kind: str) -> dict[str, str]:
    return {"error": f"Input validation error: {said}", "error_type": kind}
