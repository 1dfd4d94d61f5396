"""A worker that runs as a process of its own, watched from outside: what it has done, and what it used.

Counts come from its own `/metrics`, processor time and memory from `/proc`, parser processes included.
"""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench import processes
from e2e.testbed.process import free_ports
from lectern_contract.settings import WorkerSettings, canonical

START_SECONDS = 180.0
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.25
EVENTS = "rag_ingestion_events_total"


class WorkerStuck(Exception):
    """A worker that was to be measured ended, or did not get on."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a worker had done and used at one moment; memory in bytes, of the worker and its parsers."""

    time: float
    cpu: float
    memory: int
    documents: dict[str, int]

    @property
    def indexed(self) -> int:
        """Documents that were indexed."""
        return self.documents.get("indexed", 0)

    @property
    def ended(self) -> int:
        """Document messages that are done with."""
        return sum(self.documents.values())


class RunningWorker:
    """One process of the worker; `log` is the file with what it says."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process, self._port, self.log = process, port, log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def look(self) -> Look:
        """Return what it has done and used. Raises `WorkerStuck` when it has ended."""
        if self._process.poll() is not None:
            raise WorkerStuck(f"the worker ended with status {self._process.returncode}: {self._tail()}")
        return Look(time.perf_counter(), processes.cpu_seconds(self.pid), resident(self.pid), self._counts())

    def until(
        self, enough: Callable[[Look], bool], *, seconds: float, seen: Callable[[Look], None] | None = None
    ) -> Look:
        """Look again and again until `enough`; raises `WorkerStuck` after `seconds` without an end."""
        deadline = time.perf_counter() + seconds
        while True:
            look = self.look()
            if seen is not None:
                seen(look)
            if enough(look):
                return look
            if look.time > deadline:
                raise WorkerStuck(f"the worker was not done in {seconds:.0f} s: {look.documents}; {self._tail()}")
            time.sleep(LOOK_SECONDS)

    def wait_until_ready(self) -> None:
        """Wait for the first 200 of `/readyz`."""
        deadline = time.perf_counter() + START_SECONDS
        while processes.status_of(self._port, "/readyz") != 200:
            if self._process.poll() is not None or time.perf_counter() > deadline:
                raise WorkerStuck(f"the worker did not get ready: {self._tail()}")
            time.sleep(processes.BETWEEN_LOOKS)

    def stop(self) -> None:
        """End it as the kubelet would, and by force when it does not end."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _counts(self) -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            return counts(connection.getresponse().read().decode())
        finally:
            connection.close()

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-600:]


def counts(exposition: str) -> dict[str, int]:
    """Return from a worker's metrics how many document messages ended in which way."""
    found: dict[str, int] = {}
    for family in text_string_to_metric_families(exposition):
        for each in family.samples:
            if each.name == EVENTS:
                status = each.labels["status"]
                found[status] = found.get(status, 0) + int(each.value)
    return found


def resident(pid: int) -> int:
    """Return the resident memory of a process and its descendants, in bytes; pages that they share count twice."""
    total = 0
    for each in processes.tree(pid):
        try:
            status = Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue  # it has ended meanwhile
        total += next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0)
    return total


@contextmanager
def worker(
    settings: WorkerSettings,
    directory: Path,
    *,
    data: Path | None = None,
    well_when: Path | None = None,
    forgetful: bool = False,
) -> Iterator[RunningWorker]:
    """Run a worker with the stub of a model until the block ends; its files lie in `directory`.

    `well_when` and `forgetful` are those of `worker_process`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    file, log = directory / "settings.json", directory / "worker.log"
    file.write_text(canonical(settings))
    line = [sys.executable, "-m", "bench.ingest.worker_process", "--settings", str(file), "--port", str(port)]
    line += ["--data-dir", str(data)] if data is not None else []
    line += ["--well-when", str(well_when)] if well_when is not None else []
    line += ["--forgetful"] if forgetful else []
    with log.open("wb") as output:
        started = subprocess.Popen(line, cwd=processes.REPOSITORY, stdout=output, stderr=output)
    running = RunningWorker(started, port, log)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()
