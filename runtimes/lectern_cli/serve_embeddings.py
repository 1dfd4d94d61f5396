"""`lectern serve-embeddings`: the MiniLM of the embedded mode behind TEI's HTTP API.

For trials, tests and clusters without a GPU: a KnowledgeBase names it as `spec.embedding.server.external`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from lectern_cli import http_server
from lectern_contract.errors import ConfigurationError
from lectern_runtime import programs
from lectern_runtime.adapters.minilm_engine import MiniLmEngine
from lectern_runtime.embedding_server.app import create_app
from lectern_runtime.embedding_server.engine import Limits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the command line asks for; `threads` None means one for each processor."""

    host: str
    port: int
    limits: Limits
    threads: int | None
    weights: Path | None
    api_key_file: Path | None


async def serve(options: Options) -> None:
    """Serve until a signal says stop; raises ConfigurationError. The port opens once the model is loaded."""
    key = _Key(options.api_key_file)
    threads = options.threads or os.cpu_count() or 1
    engine = await asyncio.to_thread(MiniLmEngine.open, options.weights)
    if options.limits.max_batch_tokens < engine.model.longest:
        raise ConfigurationError(
            f"--max-batch-tokens {options.limits.max_batch_tokens} is less than one input may have; "
            f"use {engine.model.longest} or more"
        )
    app = create_app(engine, options.limits, threads=threads, read_key=key.current)
    with _stopping() as stop:
        server = programs.listening(options.host, options.port)
        async with http_server.serving(app, server):
            told = {"url": http_server.url_of(server), "model": engine.model.name, "threads": threads}
            log.info("serving embeddings", extra={**told, **_shown(options.limits)})
            await stop.wait()
            log.info("stopping")
    log.info("stopped")


def _shown(limits: Limits) -> dict[str, int]:
    """The limits as fields of a log line."""
    return {field.name: getattr(limits, field.name) for field in fields(limits)}


class _Key:
    """The key that clients must show, from a file that may be replaced meanwhile; without a file none is asked for."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._key: bytes | None = None
        if file is not None:
            try:
                self._key = file.read_bytes().strip()
            except OSError as error:
                raise ConfigurationError(f"--api-key-file {file}: {error.strerror}; name a file with a key") from error
            if not self._key:
                raise ConfigurationError(f"--api-key-file {file} is empty; write the key of its clients into it")

    def current(self) -> bytes | None:
        """The key as the file has it now; the last one while the file cannot be read or is empty."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._key = self._file.read_bytes().strip() or self._key
        return self._key


@contextlib.contextmanager
def _stopping() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
