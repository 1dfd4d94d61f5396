"""The operator as a real process beside the test's control plane, and what tests ask of it and wait for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.operator_tests import account
from e2e.testbed.control_plane import ControlPlane

ROOT = Path(__file__).parents[2]
START_SECONDS = 20.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class RunningOperator:
    """One operator process; `port` serves /healthz, /readyz and /metrics."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def metrics(self) -> dict[str, float]:
        """Return every sample of /metrics by its name with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def writes(self) -> float:
        """Return the number of requests so far that were no reads, whatever their answer."""
        calls = "lectern_operator_api_calls_total{"
        return sum(
            value for name, value in self.metrics().items() if name.startswith(calls) and 'verb="GET"' not in name
        )

    def passes(self) -> float:
        """Return the number of passes so far."""
        return sum(
            value for name, value in self.metrics().items() if name.startswith("lectern_operator_reconciles_total{")
        )

    def resident_megabytes(self) -> float:
        """Return the memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024


@contextmanager
def running_operator(
    plane: ControlPlane,
    directory: Path,
    *,
    namespace: str | None = None,
    resync_seconds: int = 600,
    arguments: Sequence[str] = (),
    ends_with: int | None = 0,
    kubeconfig: Path | None = None,
    module: str = "lectern_operator.main",
) -> Iterator[RunningOperator]:
    """Run `python -m lectern_operator.main` until the end of the block; it must then end with status `ends_with`.

    None where the test itself ends the process. Without `kubeconfig` it runs as an account with the rights of the
    table and no others.
    """
    port = _free_port()
    log = directory / f"operator-{port}.log"
    command = [sys.executable, "-m", module]
    command += ["--kubeconfig", str(kubeconfig or account.kubeconfig(plane))]
    command += ["--port", str(port), "--resync-seconds", str(resync_seconds)]
    command += ["--namespace", namespace] if namespace else []
    command += arguments
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'runtimes'}"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, env=environment, cwd=ROOT)
    operator = RunningOperator(process, port, log)
    try:
        eventually(lambda: _healthy(port), START_SECONDS, lambda: log.read_text())
        yield operator
        if ends_with is not None:
            process.terminate()
            assert process.wait(STOP_SECONDS) == ends_with, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def eventually(holds: Callable[[], object], seconds: float, otherwise: Callable[[], object] = lambda: "") -> None:
    """Wait until `holds()` is true; fail after `seconds` with what `otherwise` says."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so after {seconds} s: {otherwise()}"
        time.sleep(POLL_SECONDS)


def quiet(operator: RunningOperator, seconds: float = 1.0) -> None:
    """Wait until no pass was made for `seconds`."""
    before, since = operator.passes(), time.monotonic()
    deadline = since + 30
    while time.monotonic() - since < seconds:
        assert time.monotonic() < deadline, "the operator does not come to rest"
        time.sleep(0.1)
        if (now := operator.passes()) != before:
            before, since = now, time.monotonic()


def conditions(body: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return status and reason of every condition of an object."""
    found = body.get("status", {}).get("conditions", ())
    return {each["type"]: (each["status"], each["reason"]) for each in found}


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, or 503
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
