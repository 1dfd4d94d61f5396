"""Starts `lectern up` as a user would, waits until it is ready, and reads what the process and its children use.

`startup` and `query_latency` use it. Memory and CPU time come from /proc, so these benchmarks need Linux.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[1]
READY_SECONDS = 120.0
STOP_SECONDS = 30.0
BETWEEN_LOOKS = 0.02
BETWEEN_SAMPLES = 0.05
HOST = "127.0.0.1"
TICKS = os.sysconf("SC_CLK_TCK")


class NotStarted(Exception):
    """A process that was to be measured did not come up."""


# ------------------------------------------------------------------------------------------ reading


def tree(pid: int) -> list[int]:
    """Return the ids of the process and all its descendants that live at this moment."""
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting.extend(_children(each))
    return found


def _children(pid: int) -> Iterator[int]:
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            yield from map(int, listing.read_text().split())
        except OSError:
            continue  # the thread has ended meanwhile


def peak_bytes(pid: int) -> int:
    """Return the most resident memory that the process ever had (VmHWM), 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of the process, its threads, and its children that live or were waited for."""
    return sum(_own_cpu_seconds(each) for each in tree(pid))


def _own_cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS  # utime, stime, cutime, cstime


@dataclass
class MemoryWatch:
    """Samples a process tree in a thread; `peak` is the largest sum over processes that lived at one time, in bytes.

    Pages that parent and child share are counted twice, so the true figure is lower.
    """

    pid: int
    peak: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin sampling."""
        self._thread = threading.Thread(target=self._run, name="memory-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end; a second call does nothing."""
        self._sample()
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(BETWEEN_SAMPLES):
            self._sample()

    def _sample(self) -> None:
        self.peak = max(self.peak, sum(peak_bytes(pid) for pid in tree(self.pid)))


# ----------------------------------------------------------------------------------------- starting


@dataclass(frozen=True)
class Command:
    """A `lectern up`: its resources, its mounts (`CLAIM=DIR`) and its data directory."""

    resources: Path
    mounts: tuple[str, ...]
    data_directory: Path
    sync_seconds: int = 15

    def line(self, port: int) -> list[str]:
        """Return the command line, with the program that is installed beside this Python."""
        return [
            str(Path(sys.executable).with_name("lectern")),
            "up",
            *("-f", str(self.resources)),
            *(part for mount in self.mounts for part in ("--mount", mount)),
            *("--data-dir", str(self.data_directory)),
            *("--port", str(port)),
            *("--sync-seconds", str(self.sync_seconds)),
        ]


class Served:
    """A program that serves HTTP on a port of this machine, measured from its start; use it in a `with` block."""

    def __init__(self, line: Sequence[str], port: int, *, probe: str, output: Path) -> None:
        self.port = port
        self.seconds_to_ready = 0.0
        self.cpu_to_ready = 0.0
        self._line = list(line)
        self._probe = probe
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self.memory = MemoryWatch(0)

    def __enter__(self) -> Self:
        began = time.perf_counter()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(self._line, cwd=REPOSITORY, stdout=output, stderr=output)
        self.memory = MemoryWatch(self._process.pid)
        self.memory.start()
        try:
            self._wait_until_ready(began)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """Id of the process."""
        assert self._process is not None
        return self._process.pid

    def said(self) -> str:
        """Return what the process has printed."""
        return self._output.read_text(errors="replace")

    def _wait_until_ready(self, began: float) -> None:
        assert self._process is not None
        while status_of(self.port, self._probe) != 200:
            if self._process.poll() is not None:
                raise NotStarted(f"{self._line[0]} ended with status {self._process.returncode}: {self.said()[-500:]}")
            if time.perf_counter() - began > READY_SECONDS:
                raise NotStarted(f"{self._line[0]} was not ready after {READY_SECONDS:g} s: {self.said()[-500:]}")
            time.sleep(BETWEEN_LOOKS)
        self.seconds_to_ready = time.perf_counter() - began
        self.cpu_to_ready = cpu_seconds(self._process.pid)

    def _end(self) -> None:
        assert self._process is not None
        self.memory.stop()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def lectern_up(command: Command, output: Path) -> Served:
    """Return a `lectern up` that starts when its `with` block is entered; its words go to the file `output`."""
    port = free_port()
    return Served(command.line(port), port, probe="/readyz", output=output)


def free_port() -> int:
    """Return a port that nobody listens on; the next one to ask may get the same."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def status_of(port: int, path: str) -> int:
    """Return the HTTP status of a GET, or 0 when nobody answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
