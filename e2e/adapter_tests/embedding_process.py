"""`lectern serve-embeddings` as a process of its own, on a free port of the loopback."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from lectern_contract.settings import EmbedderSettings, ModelServerSettings

READY_SECONDS = 30.0
STOPS_SECONDS = 20.0
SPENT_SECONDS = 60.0


@dataclass
class ServedEmbeddings:
    """A running server; `process` is None for one that somebody else runs."""

    process: subprocess.Popen[str] | None
    url: str

    def client(self) -> httpx.Client:
        """A client of the server."""
        return httpx.Client(base_url=self.url, timeout=SPENT_SECONDS, trust_env=False)

    def settings(self, *, api_key_file: str | None = None) -> EmbedderSettings:
        """Settings of a runtime whose KnowledgeBase names this server."""
        return EmbedderSettings(
            model="sentence-transformers/all-MiniLM-L6-v2",
            revision="",
            dimensions=384,
            max_input_tokens=256,
            query_prefix="",
            document_prefix="",
            source=ModelServerSettings(url=self.url, protocol="TEI", api_key_file=api_key_file, ca_file=None),
        )


def command(*options: str) -> list[str]:
    """The command that serves on a free port."""
    return [sys.executable, "-m", "lectern_cli.main", "serve-embeddings", "--port", "0", *options]


@contextmanager
def serving(*options: str) -> Iterator[ServedEmbeddings]:
    """Run the server until the block ends; it is up when it says where."""
    process = subprocess.Popen(command(*options), stderr=subprocess.PIPE, text=True)
    told: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read_log, args=(process, told))
    reader.start()
    try:
        url = told.get(timeout=READY_SECONDS)
        assert url is not None, f"serve-embeddings ended with exit status {process.wait()}"
        yield ServedEmbeddings(process, url)
    finally:
        process.terminate()
        try:
            process.wait(STOPS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()


def _read_log(process: subprocess.Popen[str], told: queue.Queue[str | None]) -> None:
    """Read log lines to the end, so that the server never waits for a reader; tell the address once, and the end."""
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            fields = json.loads(line) if line.startswith("{") else {}
            if fields.get("message") == "serving embeddings":
                told.put(fields["url"])
    told.put(None)
