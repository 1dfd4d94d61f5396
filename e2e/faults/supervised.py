"""Starts the operator again whenever it ends, with the pauses of a kubelet, and remembers how it ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from e2e.faults.process import Operator, ended_with_block
from e2e.faults.proxy import FaultProxy

PAUSES = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""CrashLoopBackOff: at once, then ten seconds doubled up to five minutes (Kubernetes, pod lifecycle)."""
POLL_SECONDS = 0.1


@dataclass
class Supervisor:
    """The operator under a kubelet's care; `exits` are the statuses that it ended with by itself."""

    operator: Operator
    proxy: FaultProxy
    exits: list[int] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Keep it running until `stop`."""
        while not self._stopped.wait(POLL_SECONDS):
            if self.operator.is_running:
                continue
            self.exits.append(self.operator.wait())
            pause = PAUSES[min(len(self.exits), len(PAUSES)) - 1]
            if self._stopped.wait(pause):
                return
            self.operator.start()
            self.proxy.revive(self.operator.kill)

    def stop(self) -> None:
        """Start it no more."""
        self._stopped.set()


@contextmanager
def supervised(operator: Operator, proxy: FaultProxy) -> Iterator[Supervisor]:
    """Start the operator and keep it running until the end of the block, which ends it."""
    with ended_with_block(operator):
        operator.start()
        proxy.revive(operator.kill)
        operator.await_healthy()
        supervisor = Supervisor(operator, proxy)
        # a process dies with the thread that started it: this thread lives as long as the block
        thread = threading.Thread(target=supervisor.run, name="kubelet", daemon=True)
        thread.start()
        try:
            yield supervisor
            stopped = time.monotonic()
        finally:
            supervisor.stop()
            operator.stop()
            thread.join(max(1.0, PAUSES[1]))
        assert stopped > 0
