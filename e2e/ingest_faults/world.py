"""The world of these trials: a real Kafka, the Qdrant double, the stub embedder, and proxies before both servers.

`with world(directory) as found:` starts it in about ten seconds. What is asked of log and store by the trials
themselves goes around the proxies. All processes end with the thread that started them, so conduct from one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]  # published without types

from e2e.ingest_faults import proxy
from e2e.ingest_faults.proxy import HttpProxy, TcpProxy
from e2e.testbed import kafka as brokers
from e2e.testbed.errors import StartFailed
from e2e.testbed.kafka import Kafka
from e2e.testbed.process import Process, Processes, free_ports
from e2e.testbed.qdrant_double import QdrantDouble, qdrant_double
from lectern_contract.settings import KafkaLog as KafkaSettings
from lectern_runtime.adapters.kafka_log import KafkaLog
from lectern_runtime.errors import LogError
from lectern_runtime_tests.quick_disk import quick_directory

T = TypeVar("T")
CALL_SECONDS = 120.0
PATIENCE_SECONDS = 90.0
START_SECONDS = 60.0
REPOSITORY = Path(__file__).parents[2]
LISTENER = "PLAINTEXT"


class Loop:
    """An event loop in a thread of its own, for the asynchronous clients of trials that block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="trial", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], seconds: float = CALL_SECONDS) -> T:
        """Return what the coroutine gives; raises TimeoutError after so many seconds."""
        return self.begin(coroutine).result(seconds)

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start the coroutine and return its future."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self) -> None:
        """End the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class Stub:
    """The stub embedder as a process."""

    url: str
    client: httpx.Client

    def counts(self) -> dict[str, int]:
        """Return what was asked of it: calls, texts, embedded, tokenize_calls."""
        found: dict[str, int] = self.client.get("/stub/counts").json()
        return found


@dataclass(frozen=True)
class World:
    """Everything that a knowledge base of a trial needs; `log` is the trials' own connection to the broker."""

    directory: Path
    broker: Kafka
    double: QdrantDouble
    stub: Stub
    store_proxy: HttpProxy
    broker_proxy: TcpProxy
    processes: Processes
    loop: Loop
    log: KafkaLog

    def patiently(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what the call gives; one that finds the log away is made again for a while: machines are busy."""

        async def asked() -> T:
            end = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    return await ask()
                except (LogError, KafkaError):
                    if time.monotonic() > end:
                        raise
                    await asyncio.sleep(0.5)

        return self.loop.run(asked(), PATIENCE_SECONDS + CALL_SECONDS)

    @property
    def direct(self) -> str:
        """Where the broker answers the trials themselves: around the proxy, with a password."""
        return self.broker.addresses["SASL_PLAINTEXT"]

    @property
    def worker_log_settings(self) -> KafkaSettings:
        """Settings of the log for workers: through the proxy."""
        return _kafka(f"127.0.0.1:{self.broker_proxy.port}")

    def restart_broker(self) -> None:
        """Kill the broker and start it again over its data."""
        self.broker.kill()
        self.broker.start()

    def restart_store(self) -> None:
        """Kill the store and start it again over its data."""
        self.double.kill()
        self.double.start()


@contextmanager
def world(directory: Path | None = None) -> Iterator[World]:
    """Start everything in `directory` (one in memory without it) and end it with the block.

    Memory outlives a SIGKILL as a disk does, and does not wait for what else the machine writes.
    """
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(quick_directory()) if directory is None else directory
        (port,) = free_ports(1)
        broker = stack.enter_context(brokers.kafka(home / "kafka", {LISTENER: f"127.0.0.1:{port}"}))
        broker_proxy = TcpProxy(port, int(broker.addresses[LISTENER].rpartition(":")[2]))
        double = stack.enter_context(qdrant_double(home / "qdrant"))
        store_proxy = proxy.before(int(double.url.rpartition(":")[2]))
        stack.enter_context(proxy.serving(store_proxy, broker_proxy))
        logs = home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        processes = stack.enter_context(Processes(logs, stop_seconds=5.0))
        stub = stack.enter_context(_stub(processes))
        loop = Loop()
        stack.callback(loop.close)
        log = loop.run(_opened(_direct(broker, home)))
        stack.callback(lambda: loop.run(log.close()))
        yield World(home, broker, double, stub, store_proxy, broker_proxy, processes, loop, log)


def _direct(broker: Kafka, home: Path) -> KafkaSettings:
    user, password = home / "owner", home / "owner-password"
    for path, value in ((user, brokers.OWNER), (password, broker.passwords[brokers.OWNER])):
        path.touch(mode=0o600)
        path.write_text(value)
    return _kafka(broker.addresses["SASL_PLAINTEXT"], user, password)


def _kafka(at: str, user: Path | None = None, password: Path | None = None) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=at,
        security_protocol="SASL_PLAINTEXT" if user else "PLAINTEXT",
        sasl_mechanism="PLAIN" if user else None,
        username_file=str(user) if user else None,
        password_file=str(password) if password else None,
        ca_file=None,
    )


async def _opened(settings: KafkaSettings) -> KafkaLog:
    return KafkaLog(settings)


@contextmanager
def _stub(processes: Processes) -> Iterator[Stub]:
    (port,) = free_ports(1)
    process = started(processes, "stub-embedder", "e2e.ingest_faults.stub_embedder", "--port", str(port))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        process.wait_until(lambda: answers(client, "/health"), START_SECONDS)
        yield Stub(f"http://127.0.0.1:{port}", client)


def started(processes: Processes, name: str, module: str, *arguments: str, **environment: str) -> Process:
    """Start a Python module of this repository as a process."""
    given = {**os.environ, **environment}
    given["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    return processes.start(name, [sys.executable, "-m", module, *arguments], given)


def answers(client: httpx.Client, path: str) -> bool:
    """Return whether a server answers with 200."""
    try:
        return client.get(path, timeout=1.0).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def wait(until: Any, seconds: float, what: str, pause: float = 0.1) -> None:
    """Wait until `until()`; raises StartFailed, which names `what`, after so many seconds."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise StartFailed(f"{what} did not come within {seconds:.0f} s")
        time.sleep(pause)
