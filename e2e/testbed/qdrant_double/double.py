"""Starts the double as a process of its own and gives tests the means to kill, restart and freeze it.

`qdrant_double` is the context manager; state and log live in the directory that it is given.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from e2e.testbed.errors import StartFailed
from e2e.testbed.process import Process, Processes, free_ports

START_SECONDS = 60.0
START_ATTEMPTS = 3
PROBE_SECONDS = 1.0
NAME = "qdrant-double"
REPOSITORY = Path(__file__).parents[3]


class QdrantDouble:
    """A running double: its `url`, the `api_key` that it asks for (None: none) and its `log`."""

    def __init__(self, directory: Path, api_key: str | None, processes: Processes) -> None:
        self.api_key = api_key
        self.url = ""
        self._directory = directory
        self._processes = processes
        self._process: Process | None = None
        self._port = 0

    def __repr__(self) -> str:
        return f"QdrantDouble({self.url})"  # without the key

    @property
    def log(self) -> Path:
        """What the process wrote."""
        return self._processes.logs / f"{NAME}.log"

    @property
    def data(self) -> Path:
        """The directory of its state; copy or replace it only while the process does not run."""
        return self._directory / "data"

    def start(self) -> None:
        """Start it, on the port it had before if it ran already; raises StartFailed after a minute."""
        if self._process is not None:
            raise StartFailed(f"{NAME} runs already at {self.url}; stop or kill it first.")
        attempts = 1 if self._port else START_ATTEMPTS
        for attempt in range(1, attempts + 1):
            try:
                self._start_at(self._port or free_ports(1)[0])
                return
            except StartFailed as failure:
                self._ended()
                # Between our look for a free port and the bind another process may have taken it.
                if attempt == attempts or "address already in use" not in str(failure):
                    raise

    def stop(self) -> None:
        """End it politely: it flushes its state."""
        self._ended()

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self._signal(signal.SIGKILL)
        self._ended()

    def restart(self) -> None:
        """Stop it and start it again on the same port and state."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections are accepted and not answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _start_at(self, port: int) -> None:
        command: list[str | Path] = [sys.executable, "-m", "e2e.testbed.qdrant_double"]
        command += ["--port", str(port), "--data", self.data]
        if self.api_key is not None:
            key_file = self._directory / "api-key"
            key_file.touch(mode=0o600)
            key_file.write_text(self.api_key)
            command += ["--api-key-file", key_file]
        paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self._process = self._processes.start(NAME, command, environment)
        url = f"http://127.0.0.1:{port}"
        self._process.wait_until(lambda: _answers(url), START_SECONDS)
        self._port, self.url = port, url

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise StartFailed(f"{NAME} does not run; start it before it is sent {number.name}.")
        self._process.program.send_signal(number)

    def _ended(self) -> None:
        if self._process is not None:
            self._process.program.send_signal(signal.SIGCONT)  # a frozen process does not hear SIGTERM
            self._processes.stop()
            self._process = None


@contextmanager
def qdrant_double(directory: Path, api_key: str | None = None) -> Iterator[QdrantDouble]:
    """Run the double with its state and log in `directory` until the block ends, however it ends.

    With `api_key` every request but those for version and health must carry it. The state stays in the directory.

    Raises StartFailed, with the tail of the log, when it is not up within a minute.
    """
    logs = directory / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with Processes(logs, stop_seconds=5.0) as processes:
        double = QdrantDouble(directory, api_key, processes)
        double.start()
        try:
            yield double
        finally:
            double.stop()


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/readyz", timeout=PROBE_SECONDS) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
