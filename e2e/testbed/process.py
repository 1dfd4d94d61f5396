"""Starts and stops the processes of the testbed: own log file, no orphan, bounded waits, the log's tail on failure.

`control_plane` starts its components through `Processes`. On Linux a component dies when the *thread* that started
it ends, so start components in the thread that also stops them.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from e2e.testbed.errors import StartFailed

LAUNCH = Path(__file__).with_name("launch.py")
POLL_SECONDS = 0.05
TAIL_BYTES = 3000


def free_ports(count: int) -> tuple[int, ...]:
    """Find `count` different TCP ports that are free on loopback now; another process may still take one."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return tuple(each.getsockname()[1] for each in sockets)


@dataclass(frozen=True)
class Process:
    """A component that was started: its name, its log and the running program."""

    name: str
    log: Path
    program: subprocess.Popen[bytes]

    def tail(self) -> str:
        """Return the end of the log."""
        size = self.log.stat().st_size
        with self.log.open("rb") as log:
            log.seek(max(0, size - TAIL_BYTES))
            return log.read().decode(errors="replace").strip()

    def wait_until(self, up: Callable[[], bool], timeout: float) -> None:
        """Wait until `up()`; raise StartFailed with the log's tail when the program ends or `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        while not up():
            status = self.program.poll()
            if status is not None:
                raise self._failed(f"ended with status {status} while starting")
            if time.monotonic() > deadline:
                raise self._failed(f"was not up within {timeout:.0f} s")
            time.sleep(POLL_SECONDS)

    def _failed(self, what: str) -> StartFailed:
        return StartFailed(f"{self.name} {what}; the log {self.log} ends with\n{self.tail()}")


@dataclass
class Processes:
    """The components of one testbed; leaving the context ends them all, newest first."""

    logs: Path
    stop_seconds: float = 1.0  # an API server asks for more, but only etcd has anything to lose
    started: list[Process] = field(default_factory=list)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Process:
        """Start `command` (its first item is a path) with its output in `<logs>/<name>.log`."""
        log = self.logs / f"{name}.log"
        # -I -S: no site-packages, a start in milliseconds
        launcher = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid())]
        with log.open("ab") as output:
            program = subprocess.Popen(
                [*launcher, *map(str, command)],
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the components in order
            )
        process = Process(name, log, program)
        self.started.append(process)
        return process

    def stop(self) -> None:
        """End every component: ask, wait at most `stop_seconds` for all of them together, kill."""
        try:
            for process in reversed(self.started):
                process.program.terminate()
            deadline = time.monotonic() + self.stop_seconds
            for process in reversed(self.started):
                try:
                    process.program.wait(timeout=max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue
        finally:  # also when a second Ctrl-C cuts the wait short
            for process in reversed(self.started):
                process.program.kill()
                process.program.wait()
            self.started.clear()
