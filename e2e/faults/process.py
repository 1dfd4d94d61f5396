"""The operator as a process that may die at any time and is started again, as a kubelet would."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
TREE = Path(os.environ.get("LECTERN_OPERATOR_TREE", ROOT))
"""The checkout whose operator runs, this one unless the variable names another: to compare two versions."""
START_SECONDS = 30.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.02
TAIL_CHARACTERS = 2000
LAUNCH = ROOT / "e2e" / "testbed" / "launch.py"


class NotHealthy(AssertionError):
    """The operator did not come up, or ended, where it had to run."""


@dataclass
class Operator:
    """How to start the operator with one kubeconfig, and the process that runs now; `starts` counts them."""

    kubeconfig: Path
    directory: Path
    namespace: str | None = None
    resync_seconds: int = 600
    more: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    tree: Path = TREE
    number: int = field(default_factory=itertools.count(1).__next__)
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start a process; the last one must have ended."""
        assert self.process is None or self.process.poll() is not None, "one is running"
        self.starts += 1
        environment = {
            **os.environ,
            "PYTHONPATH": f"{self.tree / 'operator'}:{self.tree / 'runtimes'}",
            **self.environment,
        }
        launcher = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), sys.executable]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*launcher, *self._arguments()],
                stdout=subprocess.DEVNULL,
                stderr=output,
                env=environment,
                cwd=self.tree,
            )

    def _arguments(self) -> list[str]:
        scope = ["--namespace", self.namespace] if self.namespace else []
        command = ["-m", "lectern_operator.main", "--kubeconfig", str(self.kubeconfig), "--port", "0"]
        return [*command, "--resync-seconds", str(self.resync_seconds), *scope, *self.more]

    @property
    def log(self) -> Path:
        """The log of all its processes."""
        return self.directory / f"operator-{self.number}-{self.namespace or 'all'}.log"

    @property
    def pid(self) -> int:
        """The process id of the one that was started last."""
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it with SIGKILL, without waiting; harmless when it has ended."""
        if self.process is not None:
            self.process.kill()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the end and return the exit status."""
        assert self.process is not None
        return self.process.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end and return the exit status; one that does not end in time is killed (-9)."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(STOP_SECONDS)

    def port(self) -> int:
        """Return the port of /healthz and /metrics of the process that runs now; raises NotHealthy."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.is_running:
            started = [line for line in self.lines() if line.get("message") == "started"]
            if len(started) >= self.starts:
                return int(started[-1]["port"])
            time.sleep(POLL_SECONDS)
        raise NotHealthy(f"the operator told no port; its log ends with\n{self.tail()}")

    def await_healthy(self) -> None:
        """Wait until /healthz answers 200; raises NotHealthy."""
        port, deadline = self.port(), time.monotonic() + START_SECONDS
        while not self._healthy(port):
            if time.monotonic() > deadline or not self.is_running:
                raise NotHealthy(f"the operator is not healthy; its log ends with\n{self.tail()}")
            time.sleep(POLL_SECONDS)

    def _healthy(self, port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def metrics(self) -> dict[str, float]:
        """Return every sample of /metrics by its name with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port()}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def resident_megabytes(self) -> float:
        """Return the memory that the process holds now (VmRSS)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024

    def lines(self) -> list[dict[str, str]]:
        """Return what it logged, the lines that are JSON."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines() if self.log.exists() else []:
            with suppress(ValueError):
                found.append(json.loads(line))
        return [each for each in found if isinstance(each, dict)]

    def tail(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-TAIL_CHARACTERS:] if self.log.exists() else "(no log)"


@contextmanager
def ended_with_block(operator: Operator) -> Iterator[Operator]:
    """Kill whatever process runs at the end of the block."""
    try:
        yield operator
    finally:
        if operator.process is not None and operator.is_running:
            operator.kill()
            operator.wait()
