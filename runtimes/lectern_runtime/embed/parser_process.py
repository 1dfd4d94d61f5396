"""The inside of the sandbox: a process that parses one document after another, and can do nothing else.

Started by `sandbox.py` as `python -m`. It answers with frames of JSON: the document or its fault, and how large the
process is.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import struct
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

from lectern_contract.errors import ConfigurationError, DocumentError
from lectern_runtime.embed import system_calls

HEAD = struct.Struct(">Q")
OPEN_FILES = 32


def main() -> None:
    """Answer one document after another until the worker closes the pipe."""
    from lectern_runtime.embed import parse

    memory, seconds, languages = int(sys.argv[1]), int(sys.argv[2]), tuple(sys.argv[3:])
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    _send(outgoing, _ready(languages))
    statistics = os.open("/proc/self/statm", os.O_RDONLY)
    isolate(memory)
    while (media_type := _read_frame(incoming)) is not None:
        data = _read_frame(incoming)
        if data is None:
            return
        _limit_cpu(seconds)
        try:
            answer: dict[str, Any] = parse.parse(data, media_type.decode(), ocr_languages=languages).to_json()
        except DocumentError as error:
            answer = {"fault": error.reason, "message": str(error)}
        except MemoryError:
            answer = {"fault": "OutOfMemory", "message": "parsing needs more memory than a document of this size may"}
        except RecursionError:
            answer = {"fault": "TooDeep", "message": "its parts are nested too deeply"}
        del data
        _send(outgoing, answer | {"resident": _resident(statistics)})


def isolate(memory_bytes: int) -> None:
    """Give up what no parser needs: memory without end, files to write, processes, the network, and their calls."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    _leave_network()
    system_calls.refuse()
    sys.addaudithook(_refuse)


def _ready(languages: Sequence[str]) -> dict[str, Any]:
    """Load what opens shared libraries, and give what the worker hears first: whether what OCR needs is installed."""
    import lectern_runtime.embed.parsers.pdf  # noqa: F401

    if languages:
        from lectern_runtime.embed.parsers import ocr

        try:
            ocr.reader(tuple(languages))
        except ConfigurationError as error:
            return {"configuration": str(error)}
    return {}


def _leave_network() -> None:
    """Move into a network namespace without interfaces where the kernel allows it; the audit hook stands anyway."""
    import ctypes

    new_user, new_net = 0x10000000, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(new_net) != 0:
        libc.unshare(new_user | new_net)


_REFUSED = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "os.spawn", "ctypes.dlopen")


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Stop Python code that wants a socket, a process or a file to write: no parser here has a reason to."""
    if event.startswith(_REFUSED):
        raise PermissionError(f"{event} is not allowed in the parser")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        raise PermissionError("writing files is not allowed in the parser")


def _resident(statistics: int) -> int:
    """Bytes in memory now. What the system calls the peak would begin with that of the worker."""
    return int(os.pread(statistics, 128, 0).split()[1]) * resource.getpagesize()


def _limit_cpu(seconds: int) -> None:
    # The limit counts from the start of the process, which outlives many documents.
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _read_frame(stream: BinaryIO) -> bytes | None:
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (length,) = HEAD.unpack(head)
    data = stream.read(length)
    return data if len(data) == length else None


def _send(stream: BinaryIO, answer: dict[str, Any]) -> None:
    raw = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
    stream.write(HEAD.pack(len(raw)))
    stream.write(raw)
    stream.flush()


if __name__ == "__main__":
    main()
