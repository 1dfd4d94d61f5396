"""The parser process: warm, limited, killed when it overruns, and never the end of the worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
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
BOMB = b"<li><ul>" * 900_000 + b"x"


@pytest.fixture
async def parser() -> AsyncIterator[ParserSandbox]:
    async with ParserSandbox(Limits(seconds=20, document_bytes=8 << 20), processes=1) as found:
        yield found


def pid_of(parser: ParserSandbox) -> int:
    (pid,) = parser.pids
    return pid


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
    pid = pid_of(parser)
    assert await asyncio.gather(*(parser.parse(b"x", MARKDOWN) for _ in range(5)))
    assert pid_of(parser) == pid
    await parser.close()
    assert not alive(pid)


async def test_documents_that_come_together_are_parsed_by_several_processes_and_no_more_than_allowed() -> None:
    async with ParserSandbox(Limits(seconds=20, document_bytes=8 << 20), processes=2) as parser:
        parsed = await asyncio.gather(*(parser.parse(f"text {number}".encode(), MARKDOWN) for number in range(8)))
        assert [each.text for each in parsed] == [f"text {number}" for number in range(8)]
        assert len(set(parser.pids)) == 2


async def test_a_document_of_its_own_fault_leaves_the_process_warm(parser: ParserSandbox) -> None:
    assert await reason(parser, b"\x00\x01" * 100) == "BinaryContent"
    pid = pid_of(parser)
    assert await reason(parser, b"") == "NoText"
    assert pid_of(parser) == pid


async def test_a_document_that_takes_too_long_is_given_up_and_the_next_one_is_parsed() -> None:
    async with ParserSandbox(Limits(seconds=1.5, document_bytes=8 << 20), processes=1) as parser:
        await parser.parse(b"warm", MARKDOWN)
        pid = pid_of(parser)
        assert await reason(parser, BOMB, HTML) == "TimedOut"
        assert not alive(pid)
        assert (await parser.parse(b"next", MARKDOWN)).text == "next"


async def test_a_document_that_takes_long_gives_way_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ParserSandbox(Limits(seconds=2, document_bytes=8 << 20), processes=1) as parser:
        await parser.parse(b"warm", MARKDOWN)
        pid = pid_of(parser)
        monkeypatch.setattr(sandbox, "PATIENCE_SECONDS", 0.05)
        priorities: set[int] = set()
        call = asyncio.ensure_future(reason(parser, BOMB, HTML))
        while not call.done():
            with contextlib.suppress(ProcessLookupError):
                priorities.add(os.getpriority(os.PRIO_PROCESS, pid))
            await asyncio.sleep(0.02)
        assert await call == "TimedOut"
        assert max(priorities) == 15


async def test_a_process_that_dies_is_replaced(parser: ParserSandbox) -> None:
    await parser.parse(b"warm", MARKDOWN)
    pid = pid_of(parser)
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.ensure_future(parser.parse(b"lost", MARKDOWN))
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
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


async def test_memory_and_open_files_are_limited() -> None:
    async with ParserSandbox(Limits(seconds=20, document_bytes=4 << 20), processes=1) as parser:
        await parser.parse(b"warm", MARKDOWN)
        limits, status = facts(pid_of(parser), "limits"), facts(pid_of(parser), "status")
    soft = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
    assert soft["Max address space"] == str((512 + 24 * 4) << 20)
    assert soft["Max open files"] == "32"
    assert soft["Max file size"] == "0"
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 60 * 1024


async def test_a_process_that_grew_large_is_not_kept(parser: ParserSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    await parser.parse(b"small", "text/plain")
    pid = pid_of(parser)
    monkeypatch.setattr(sandbox, "RECYCLE_BYTES", 1 << 20)
    await parser.parse(b"as large as Python alone", "text/plain")
    assert not alive(pid)
    assert parser.pids == ()


async def test_a_document_over_the_limit_is_never_handed_over(parser: ParserSandbox) -> None:
    assert await reason(parser, b"x" * ((8 << 20) + 1)) == "TooLarge"
    assert parser.pids == ()


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
    program = f"from lectern_runtime.embed import parser_process\nparser_process.isolate(1 << 30)\n{attempt}"
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1
    assert "PermissionError" in done.stderr
    assert "not allowed in the parser" in done.stderr


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="there is no filter for this processor")
@pytest.mark.parametrize(
    "call",
    ["socket(2, 1, 0)", "fork()", "open(b'/tmp/lectern-never', 0o101, 0o600)", "kill(PARENT, 0)", "unlink(b'/tmp/x')"],
)
def test_native_code_gets_none_of_it_either(call: str) -> None:
    program = f"""
import ctypes, errno, os
from lectern_runtime.embed import parser_process
PARENT, libc = os.getppid(), ctypes.CDLL(None, use_errno=True)
parser_process.isolate(1 << 30)
done = libc.{call}
print(done, errno.errorcode.get(ctypes.get_errno()), len(open(os.devnull).read()), flush=True)
"""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout) == (0, "-1 EPERM 0\n"), done.stderr


async def test_an_answer_that_is_none_is_a_crash_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nonsense(child: object, *, limit: int) -> bytes:
        return b"[]"

    async with ParserSandbox(Limits(seconds=20, document_bytes=8 << 20), processes=1) as parser:
        await parser.parse(b"warm", MARKDOWN)
        pid = pid_of(parser)
        with monkeypatch.context() as patched:
            patched.setattr(sandbox._Child, "_receive", nonsense)
            assert await reason(parser, b"x") == "ParserCrashed"
        assert not alive(pid)
        assert (await parser.parse(b"next", MARKDOWN)).text == "next"
