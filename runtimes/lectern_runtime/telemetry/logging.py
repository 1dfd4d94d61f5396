"""Log lines of every runtime: JSON, one object a line, or on a terminal lines for people.

A program's main calls `configure` once. Fields come from `extra`, from `about`, and from the trace that is under way.
What an exception says may quote a document, so only its class and the places it passed are written; of libraries only
warnings are, and of those the first line.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import TextIO

from lectern_runtime.telemetry import tracing

OURS = "lectern"
"""Our loggers begin so: their messages are sentences of ours."""
# Every attribute that a record has by itself; whatever else it has came from `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_MOST_FRAMES = 12
_MOST_FOREIGN = 300
_NOTHING: Mapping[str, object] = MappingProxyType({})
_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("lectern_log_fields", default=_NOTHING)
logger = logging.getLogger("lectern.program")


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Let every line that is logged inside have `fields`: the ids of a run, a request or a document."""
    token = _ABOUT.set({**_ABOUT.get(), **fields})
    try:
        yield
    finally:
        _ABOUT.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        for name, value in _fields(record).items():
            line.setdefault(name, value)
        return json.dumps(line, default=str)


class TerminalFormatter(logging.Formatter):
    """One line for a person: time of day, level, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, without anything that a terminal would obey."""
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        line = f"{time} {record.levelname:<7} {record.name}: {_message(record)}{'  ' if fields else ''}{fields}"
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send every record of `level` and above to `stream` (standard error); a second call replaces the first.

    The lines are JSON unless the stream is a terminal. Libraries are heard from WARNING on.
    """
    handler = _Standard() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(TerminalFormatter() if (stream or sys.stderr).isatty() else JsonFormatter())
    handler.addFilter(_heard)
    root = logging.getLogger()
    for each in [each for each in root.handlers if isinstance(each.formatter, JsonFormatter | TerminalFormatter)]:
        root.removeHandler(each)
    root.addHandler(handler)
    root.setLevel(level)


class _Standard(logging.StreamHandler[TextIO]):
    """Writes to what is standard error at the time of the line."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Take nothing: the base class sets it once."""


def last_words() -> None:
    """Let what ends this process unexpectedly be a log line as well, without an exception's text.

    For programs only: it replaces the hooks of the interpreter.
    """

    def ended(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or issubclass(kind, KeyboardInterrupt):
            return
        logger.critical("ended by a defect of the program; please report this", extra=described(error))

    sys.excepthook = ended
    threading.excepthook = lambda args: ended(args.exc_type, args.exc_value, args.exc_traceback)


def described(error: BaseException) -> dict[str, object]:
    """Class of an error and the places that it passed, without its text, as fields of a log line."""
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    return {
        "exception": type(error).__name__,
        "at": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _heard(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.startswith(OURS)


def _message(record: logging.LogRecord) -> str:
    """What is said; of what a library says the first line, because asyncio shows values in those that follow."""
    if record.name.startswith(OURS):
        return record.getMessage()
    return record.getMessage().partition("\n")[0][:_MOST_FOREIGN]


def _fields(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = {**_ABOUT.get(), **tracing.ids()}
    found.update((key, value) for key, value in vars(record).items() if key not in _OWN)
    if record.exc_info and record.exc_info[1] is not None:
        found.update(described(record.exc_info[1]))
    return found
