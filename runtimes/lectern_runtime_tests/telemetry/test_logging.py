"""A log line says ids and never what an exception, or a library, knows of a text."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lectern_runtime.telemetry import logging as log_lines
from lectern_runtime.telemetry import tracing

CANARY = "the-canary-sings"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_the_ids_of_what_is_in_hand_and_of_its_trace() -> None:
    stream = io.StringIO()
    log_lines.configure("INFO", stream)

    with log_lines.about(document_id="d", partition=3), tracing.continued(TRACEPARENT):
        logging.getLogger("lectern.worker").warning("given %s", "up", extra={"stage": "parse", "partition": 4})
    logging.getLogger("lectern.worker").info("next")

    first, second = lines(stream)
    assert {key: first[key] for key in first if key != "time"} == {
        "level": "WARNING",
        "logger": "lectern.worker",
        "message": "given up",
        "document_id": "d",
        "partition": 4,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "stage": "parse",
    }
    assert set(second) == {"time", "level", "logger", "message"}


def test_what_an_exception_says_is_not_in_the_line() -> None:
    stream = io.StringIO()
    log_lines.configure("INFO", stream)

    try:
        raise ValueError(CANARY)
    except ValueError:
        logging.getLogger("lectern.worker").exception("it broke")

    (line,) = lines(stream)
    assert line["exception"] == "ValueError"
    assert line["at"][0].startswith("test_logging.py:")
    assert CANARY not in stream.getvalue()


def test_of_libraries_only_warnings_are_heard_and_of_those_the_first_line() -> None:
    stream = io.StringIO()
    log_lines.configure("DEBUG", stream)

    logging.getLogger("httpx").info("HTTP Request: POST %s", CANARY)
    logging.getLogger("library").debug("record %s", CANARY)
    logging.getLogger("library").warning("no broker answers\n%s", CANARY)

    assert [(line["logger"], line["message"]) for line in lines(stream)] == [("library", "no broker answers")]
    assert CANARY not in stream.getvalue()


async def test_a_task_that_nobody_awaited_tells_no_value() -> None:
    stream = io.StringIO()
    log_lines.configure("INFO", stream)

    async def broken() -> None:
        raise ValueError(CANARY)

    task = asyncio.create_task(broken())
    await asyncio.wait((task,))
    context = {"message": "Task exception was never retrieved", "exception": task.exception(), "task": task}
    asyncio.get_running_loop().call_exception_handler(context)

    (line,) = lines(stream)
    assert (line["logger"], line["message"]) == ("asyncio", "Task exception was never retrieved")
    assert CANARY not in stream.getvalue()


def test_a_terminal_gets_a_line_for_people_that_it_does_not_obey() -> None:
    stream = Terminal()
    log_lines.configure("INFO", stream)

    logging.getLogger("lectern.connector").info("read %s", "a\x1b[2Jb\nc", extra={"source": "ns/files"})

    (line,) = stream.getvalue().splitlines()
    assert line.endswith("INFO    lectern.connector: read a\\x1b[2Jb\\nc  source=ns/files")


def test_a_second_call_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    log_lines.configure("INFO", first)
    log_lines.configure("WARNING", second)

    logging.getLogger("lectern.query").info("not heard")
    logging.getLogger("lectern.query").warning("heard")

    assert first.getvalue() == ""
    assert [line["message"] for line in lines(second)] == ["heard"]


PROGRAM = """
import threading
from lectern_runtime.telemetry import logging as log_lines
log_lines.configure("INFO")
log_lines.last_words()
def broken():
    raise ValueError("the-canary-sings")
thread = threading.Thread(target=broken)
thread.start()
thread.join()
broken()
"""


def test_what_ends_a_program_or_a_thread_is_a_line_without_its_text() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)

    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert [(line["level"], line["exception"]) for line in told] == [("CRITICAL", "ValueError")] * 2
    assert CANARY not in done.stderr
