"""Worker programs of one knowledge base, as a kubelet runs their containers: a name, a port, a start after each end.

`Workers.tend` starts again what ended; a failpoint can be set for the next start of one.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from e2e.ingest_faults.base import Base
from e2e.ingest_faults.world import answers, started, wait
from e2e.testbed.process import Process, free_ports
from lectern_contract import settings as contract
from lectern_runtime import failpoints

READY_SECONDS = 180.0
STOP_SECONDS = 30.0
MODULE = "lectern_runtime.embed"


@dataclass
class Worker:
    """One pod's container; `name` is the pod's, by which its group knows it again."""

    base: Base
    name: str
    settings: Path
    port: int
    failpoint: str = ""
    process: Process | None = None
    starts: int = 0

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.program.poll() is None

    @property
    def status(self) -> int | None:
        """Exit status of its last process; None while it runs or before the first."""
        return self.process.program.poll() if self.process is not None else None

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self.base.world.processes.logs / f"{self.name}.log"

    def start(self, failpoint: str = "") -> None:
        """Start the program, with a failpoint if one is given."""
        self.failpoint = failpoint
        self.starts += 1
        given = {failpoints.VARIABLE: failpoint, failpoints.ALLOWED: "1"} if failpoint else {}
        self.process = started(
            self.base.world.processes,
            self.name,
            MODULE,
            "--settings",
            str(self.settings),
            "--port",
            str(self.port),
            HOSTNAME=self.name,
            KUBERNETES_SERVICE_HOST="127.0.0.1",
            **given,
        )

    def kill(self) -> bool:
        """End it with SIGKILL; return whether it ran."""
        if not self.alive or self.process is None:
            return False
        self.process.program.send_signal(signal.SIGKILL)
        self.process.program.wait()
        return True

    def stop(self) -> int:
        """End it with SIGTERM, as a kubelet does, and return its exit status."""
        assert self.process is not None
        self.process.program.send_signal(signal.SIGTERM)
        return self.process.program.wait(timeout=STOP_SECONDS)

    def pause(self) -> None:
        """Stop it in its tracks: its group takes it for dead after a while."""
        assert self.process is not None
        self.process.program.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused one go on."""
        assert self.process is not None
        self.process.program.send_signal(signal.SIGCONT)

    @property
    def ready(self) -> bool:
        """Whether its probe says that it can work."""
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False) as client:
            return answers(client, "/readyz")

    @property
    def resident_bytes(self) -> int:
        """Memory of the process without its parsers' children."""
        assert self.process is not None
        status = Path(f"/proc/{self._pid()}/status").read_text()
        (line,) = [each for each in status.splitlines() if each.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024

    def _pid(self) -> int:
        assert self.process is not None
        return self.process.program.pid


@dataclass
class Workers:
    """The workers of a base; use it as a context: they are ended with it."""

    base: Base
    members: list[Worker] = field(default_factory=list)
    made: int = 0

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.members:
            each.kill()

    def add(self, *, failpoint: str = "") -> Worker:
        """Start one more worker, under a name that no other had."""
        directory = self.base.world.directory / "settings" / self.base.kb.name
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "settings.json"
        path.write_text(contract.canonical(self.base.settings))
        worker = Worker(self.base, f"{self.base.kb.name}-worker-{self.made}", path, free_ports(1)[0])
        self.made += 1
        self.members.append(worker)
        worker.start(failpoint)
        return worker

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until every worker can work."""
        wait(lambda: all(each.ready for each in self.members), seconds, f"readiness of {self.base.kb.name}'s workers")

    def tend(self, failpoint: str = "") -> list[tuple[Worker, int]]:
        """Start again what ended, the first one with `failpoint`; return who had ended and with what status."""
        ended = [(each, status) for each in self.members if (status := each.status) is not None]
        for number, (each, _) in enumerate(ended):
            each.start(failpoint if number == 0 else "")
        return ended

    def drain(self, seconds: float, *, tend: bool = True) -> None:
        """Wait until the group has committed everything; raises StartFailed after so many seconds."""

        def done() -> bool:
            if tend:
                self.tend()
            return self.base.lag() == 0

        wait(done, seconds, f"the end of the log of {self.base.kb.name}", pause=0.3)

    def stop(self) -> Sequence[int]:
        """End all of them politely and return their exit statuses."""
        statuses = [each.stop() for each in self.members if each.alive]
        self.members.clear()
        return statuses
