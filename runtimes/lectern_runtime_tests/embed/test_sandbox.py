"""The parser process: warm, limited, killed when it overruns, and never the end of the worker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lectern_contract.errors import DocumentError
from lectern_runtime.embed import sandbox
from lectern_runtime.embed.sandbox import Limits, ParserSandbox

MARKDOWN = "text/markdown"
HTML = "text/html"
BOMB = b"<li><ul>" * 500_000 + b"x"


@pytest.fixture
async def parser() -> AsyncIterator[ParserSandbox]:
    async with ParserSandbox(Limits(seconds=20, document_bytes=8 << 20)) as found:
        yield found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def facts(pid: int | None, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


async def reason(parser: ParserSandbox, data: bytes, media_type: str = MARKDOWN) -> str:
    with pytest.raises(DocumentError) as caught:
        await parser.parse(data, media_type)
    assert caught.value.stage == "parse"
    return caught.value.reason


async def test_one_process_serves_many_documents_and_ends_with_the_sandbox(parser: ParserSandbox) -> None:
    parsed = [await parser.parse(f"# T{number}\n\ntext".encode(), MARKDOWN) for number in range(20)]
    assert [each.title for each in parsed] == [f"T{number}" for number in range(20)]
    pid = parser.pid
    assert await asyncio.gather(*(parser.parse(b"x", MARKDOWN) for _ in range(5)))
    assert pid is not None
    assert parser.pid == pid
    await parser.close()
    assert not alive(pid)


async def test_a_document_of_its_own_fault_leaves_the_process_warm(parser: ParserSandbox) -> None:
    assert await reason(parser, b"\x00\x01" * 100) == "BinaryContent"
    pid = parser.pid
    assert await reason(parser, b"") == "Empty"
    assert parser.pid == pid


async def test_a_document_that_takes_too_long_is_given_up_and_the_next_one_is_parsed() -> None:
    async with ParserSandbox(Limits(seconds=0.5, document_bytes=8 << 20)) as parser:
        await parser.parse(b"warm", MARKDOWN)
        pid = parser.pid
        assert await reason(parser, BOMB, HTML) == "TimedOut"
        assert pid is not None
        assert not alive(pid)
        assert (await parser.parse(b"next", MARKDOWN)).text == "next"


async def test_a_process_that_dies_is_replaced(parser: ParserSandbox) -> None:
    await parser.parse(b"warm", MARKDOWN)
    assert parser.pid is not None
    os.kill(parser.pid, signal.SIGSTOP)
    waiting = asyncio.ensure_future(parser.parse(b"lost", MARKDOWN))
    await asyncio.sleep(0.05)
    os.kill(parser.pid, signal.SIGKILL)
    with pytest.raises(DocumentError) as caught:
        await waiting
    assert caught.value.reason == "ParserCrashed"
    assert (await parser.parse(b"next", MARKDOWN)).text == "next"


async def test_a_cancelled_call_leaves_nothing_behind_for_the_next(parser: ParserSandbox) -> None:
    await parser.parse(b"warm", MARKDOWN)
    call = asyncio.ensure_future(parser.parse(BOMB, HTML))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await parser.parse(b"next", MARKDOWN)).text == "next"


async def test_memory_is_limited() -> None:
    async with ParserSandbox(Limits(seconds=20, document_bytes=4 << 20)) as parser:
        await parser.parse(b"warm", MARKDOWN)
        limits, status = facts(parser.pid, "limits"), facts(parser.pid, "status")
    address_space = next(line for line in limits.splitlines() if line.startswith("Max address space"))
    assert address_space.split()[3] == str((512 + 24 * 4) << 20)
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 60 * 1024


async def test_a_large_document_does_not_stay_in_memory(parser: ParserSandbox) -> None:
    await parser.parse(b"x " * (1 << 20) + b"y", "text/plain")
    assert parser.pid is None
    assert await reason(parser, b"x" * ((8 << 20) + 1)) == "TooLarge"


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import os; os.fork()",
        "open('/tmp/lectern-never', 'w')",
        "import ctypes; ctypes.CDLL(None)",
    ],
)
def test_parsers_get_no_network_no_processes_and_no_files_to_write(attempt: str) -> None:
    program = f"from lectern_runtime.embed import sandbox\nsandbox.isolate(1 << 30)\n{attempt}"
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1
    assert "PermissionError" in done.stderr
    assert "not allowed in the parser" in done.stderr


def test_an_answer_that_is_none_is_a_crash_of_the_parser() -> None:
    assert issubclass(sandbox._Nonsense, Exception)
    assert Limits(1, 1000).output_bytes > 1000
