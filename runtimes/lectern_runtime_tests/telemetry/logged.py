"""Everything that a program would log, at the lowest level, as the lines that it would write."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lectern_runtime.telemetry import logging as log_lines


class Lines:
    """What was written so far."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def text(self) -> str:
        return self._stream.getvalue()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@contextmanager
def logged(level: str = "DEBUG") -> Iterator[Lines]:
    """Log as a program does, and leave the root logger as it was."""
    root = logging.getLogger()
    handlers, before, stream = list(root.handlers), root.level, io.StringIO()
    log_lines.configure(level, stream)
    try:
        yield Lines(stream)
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
