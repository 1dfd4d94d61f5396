"""Runs the `lectern` command as a person does: in a process of its own, seen through its output and its port.

Every process that is started here ends with the `with` block that started it, and only by its own id.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "lectern_cli.main")
READY_SECONDS = 60.0
SETTLE_SECONDS = 60.0
STOP_SECONDS = 30.0
_SERVING = re.compile(r"serving on (http://\S+)")


class JourneyFailed(AssertionError):
    """The command did not come to the state that the journey needs; its output is in the message."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the command inherits: the checkout on the path, plain output, and nothing that speaks of a proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    paths = os.pathsep.join((str(ROOT / "runtimes"), str(ROOT / "operator")))
    return {**kept, "PYTHONPATH": paths, "NO_COLOR": "1", "COLUMNS": "80", **(extra or {})}


def lectern(*arguments: str, seconds: float = 60, **more: str) -> subprocess.CompletedProcess[str]:
    """One call of the command, to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(more), cwd=ROOT, capture_output=True, text=True, timeout=seconds
    )


@dataclass
class Up:
    """A running `lectern up`."""

    process: subprocess.Popen[str]
    started: float
    lines: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def output(self) -> str:
        """All that it wrote so far."""
        return "".join(self.lines)

    def get(self, path: str) -> httpx.Response:
        """The answer to a GET."""
        return httpx.get(self.url + path, timeout=30, trust_env=False)

    def post(self, path: str, body: Any) -> httpx.Response:
        """The answer to a POST of JSON."""
        return httpx.post(self.url + path, json=body, timeout=30, trust_env=False)

    def ask(self, question: str, **more: Any) -> dict[str, Any]:
        """The answer to a question."""
        return self._fine(self.post("/v1/query", {"question": question, **more}))

    def retrieve(self, query: str, **more: Any) -> list[dict[str, Any]]:
        """Hits for a query."""
        hits = self._fine(self.post("/v1/retrieve", {"query": query, **more}))["hits"]
        assert isinstance(hits, list)
        return hits

    def resource(self, kind: str, name: str | None = None) -> dict[str, Any]:
        """One resource with its status; without a name the only one of its kind."""
        items = [item for item in self._fine(self.get("/resources"))["items"] if item["kind"] == kind]
        found = [item for item in items if name in (None, item["metadata"]["name"])]
        assert len(found) == 1, f"{kind}/{name}: {len(found)} of {[item['metadata']['name'] for item in items]}"
        one = found[0]
        assert isinstance(one, dict)
        return one

    def condition(self, kind: str, aspect: str, name: str | None = None) -> dict[str, Any]:
        """One condition of a resource."""
        return next(each for each in self.resource(kind, name)["status"]["conditions"] if each["type"] == aspect)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of a metric that carry all of `labels`."""
        total = 0.0
        for line in self.get("/metrics").text.splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(f'{key}="{label}"' in head for key, label in labels.items()):
                total += float(value)
        return total

    def settled(self, *, seconds: float = SETTLE_SECONDS) -> Up:
        """Wait until every source was read and all that it gave was worked on."""
        eventually(self._is_settled, seconds=seconds, what=lambda: f"not settled:\n{self.output}")
        return self

    def memory_mib(self) -> float:
        """Most memory that the process has had resident, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def _is_settled(self) -> bool:
        if self.process.poll() is not None:
            raise JourneyFailed(f"lectern up ended with status {self.process.returncode}:\n{self.output}")
        items = self._fine(self.get("/resources"))["items"]
        conditions = [each for item in items for each in item["status"]["conditions"]]
        moving = any(each["type"] == "Reconciling" and each["status"] != "False" for each in conditions)
        return not moving

    @staticmethod
    def _fine(response: httpx.Response) -> dict[str, Any]:
        assert response.status_code == 200, f"{response.request.url}: {response.status_code} {response.text}"
        body = response.json()
        assert isinstance(body, dict)
        return body


@contextlib.contextmanager
def up(*arguments: str, ready: bool = True, prefix: Sequence[str] = (), **more: str) -> Iterator[Up]:
    """A `lectern up` on a free port, killed at the end if it still runs. `ready`: wait until it answers."""
    with subprocess.Popen(
        [*prefix, *COMMAND, "up", "--port", "0", *arguments],
        env=environment(more),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        running = Up(process, time.monotonic())
        assert process.stdout is not None
        reader = threading.Thread(target=_collect, args=(process.stdout, running.lines), daemon=True)
        reader.start()
        try:
            if ready:
                _await_url(running)
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(STOP_SECONDS)
            reader.join(STOP_SECONDS)


def eventually(holds: Callable[[], object], *, seconds: float, what: Callable[[], str], every: float = 0.1) -> None:
    """Wait until `holds()` is true; raises `JourneyFailed` with `what()` when it never is."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise JourneyFailed(f"after {seconds:g} s: {what()}")
        time.sleep(every)


def _await_url(running: Up) -> None:
    def found() -> bool:
        match = _SERVING.search(running.output)
        if match is not None:
            running.url = match.group(1)
        elif running.process.poll() is not None:
            raise JourneyFailed(f"lectern up ended with status {running.process.returncode}:\n{running.output}")
        return match is not None

    eventually(found, seconds=READY_SECONDS, what=lambda: f"never served:\n{running.output}", every=0.02)


def _collect(stream: IO[str], lines: list[str]) -> None:
    with contextlib.suppress(ValueError):  # closed while it was read
        lines.extend(stream)
