"""No word of a document reaches a log line or a span, whatever breaks while it is worked on."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lectern_contract import settings
from lectern_contract.messages import DeadLetter
from lectern_runtime.adapters.tei import TeiEmbedder
from lectern_runtime_tests.pipeline import DIMENSIONS, InlineParser, Pipeline, pipeline, worker_settings
from lectern_runtime_tests.telemetry.logged import Lines, logged
from lectern_runtime_tests.telemetry.spans import Kept, kept

CANARY, KEY = "thecanarysings", "thekeyopens"
TEXT = f"# {CANARY}\n\nmail {CANARY}@example.com about {CANARY}\n"


class Breaks:
    """Stands before an adapter; one of its calls ends with an error that quotes the document."""

    def __init__(self, inner: Any, call: str, error: Callable[[str], Exception]) -> None:
        self._inner, self._call, self._error = inner, call, error

    def __getattr__(self, name: str) -> Any:
        if name != self._call:
            return getattr(self._inner, name)

        async def broken(*_arguments: Any, **_named: Any) -> Any:
            raise self._error(f"{CANARY} in {TEXT!r}")

        return broken


def no_word_of_it(lines: Lines, spans: Kept) -> None:
    recorded = " ".join(f"{span.name} {dict(span.attributes or {})} {span.status.description}" for span in spans.all())
    events = [event.name for span in spans.all() for event in span.events]
    for told in (lines.text(), recorded):
        assert CANARY not in told
        assert KEY not in told
    assert events == []


def place_of(letter: DeadLetter) -> tuple[int, int]:
    return letter.origin_partition, letter.origin_offset


async def say(pipe: Pipeline) -> None:
    await pipe.worker().ensure()
    put = await pipe.put("a.md", TEXT, title=f"about {CANARY}", metadata={"product": CANARY})
    await pipe.publish(put)


@pytest.mark.parametrize("error", [ValueError, KeyError, RuntimeError])
@pytest.mark.parametrize(
    ("part", "call", "stage"),
    [
        ("blobs", "get", "prepare"),
        ("parser", "parse", "prepare"),
        ("embedder", "tokenize", "prepare"),
        ("embedder", "embed", "embed"),
    ],
)
async def test_an_error_that_quotes_the_document_is_told_without_its_words(
    tmp_path: Path, part: str, call: str, stage: str, error: Callable[[str], Exception]
) -> None:
    async with pipeline(tmp_path, tmp_path) as pipe:
        await say(pipe)
        inner = {"parser": InlineParser()}.get(part) or getattr(pipe, part)
        with logged() as lines, kept() as spans:
            await pipe.index(**{part: Breaks(inner, call, error)})
        (letter,) = await pipe.dead_letters()

    no_word_of_it(lines, spans)
    assert CANARY not in letter.detail
    (told,) = [line for line in lines.all() if line["message"] == "gave a document up"]
    identity = letter.message.document.id
    assert (told["stage"], told["reason"], told["document_id"]) == (stage, "InternalError", identity)
    assert (told["source"], told["partition"], told["offset"]) == ("files", *place_of(letter))
    assert told["trace_id"]


@contextmanager
def echoing(status: int) -> Iterator[str]:
    """A stub of an embedding server: it embeds any text but the document's, which it says back with `status`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            limits = {"max_input_length": 64, "max_client_batch_size": 8, "max_batch_tokens": 512}
            self.answer(200, {"model_id": "echo", "model_sha": "1", **limits})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            texts = body["inputs"]
            if self.path == "/tokenize":
                special = {"special": True, "start": None, "stop": None}
                around = [special] if body["add_special_tokens"] else []
                self.answer(200, [[*around, *map(_token, re.finditer(r"\w+|\S", text))] for text in texts])
            elif CANARY in " ".join(texts):
                said = f"{self.headers['authorization']} {' '.join(texts)}"
                self.answer(status, {"error": said, "message": said, "error_type": said})
            else:
                self.answer(200, [[1.0] * DIMENSIONS for _ in texts])

        def answer(self, code: int, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 the base class chooses the name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _token(match: re.Match[str]) -> dict[str, Any]:
    return {"id": 1, "text": match.group(), "special": False, "start": match.start(), "stop": match.end()}


@pytest.mark.parametrize("status", [400, 413, 422, 429, 500])
async def test_a_model_server_that_says_back_what_it_was_sent_is_not_quoted(tmp_path: Path, status: int) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    with echoing(status) as url:
        source = settings.ModelServerSettings(url=url, protocol="TEI", api_key_file=str(key), ca_file=None)
        embedder = TeiEmbedder.open(worker_settings().embedder, source)
        async with pipeline(tmp_path, tmp_path) as pipe:
            await say(pipe)
            with logged() as lines, kept() as spans:
                await pipe.index(embedder=embedder)
            (letter,) = await pipe.dead_letters()
        await embedder.close()

    no_word_of_it(lines, spans)
    assert CANARY not in letter.detail
    assert KEY not in letter.detail
    assert [line["stage"] for line in lines.all() if line["message"] == "gave a document up"] == ["embed"]
