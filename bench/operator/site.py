"""Where the operator meets two thousand resources: a real API server, broker and store double, and stub children.

The real controllers stand still (SIGSTOP) while the operator is measured: what is below its children is stubbed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.processes import REPOSITORY
from e2e.faults.arena import KEDA_KINDS, NAMESPACE_SECONDS, until
from e2e.faults.mirror import OWNERS, Mirror
from e2e.faults.process import TREE, Operator
from e2e.faults.scenarios import World
from e2e.testbed.api import connect
from e2e.testbed.background import running
from e2e.testbed.control_plane import ControlPlane, control_plane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.kafka import kafka
from e2e.testbed.keda import keda_crds
from e2e.testbed.qdrant_double.double import qdrant_double

DIMENSIONS = 384
STUB_SECONDS = 20.0


@dataclass(frozen=True)
class Site:
    """The control plane, addresses outside, namespaces, and a mirror of Lectern's own kinds alone."""

    plane: ControlPlane
    mirror: Mirror
    world: World
    embedder: str
    namespaces: tuple[str, ...]
    directory: Path

    def operator(self, *, resync_seconds: int = 600, namespace: str | None = None) -> Operator:
        """Return an operator straight at the API server."""
        return Operator(self.plane.kubeconfig, self.directory, namespace, resync_seconds)

    def controllers(self, *, run: bool) -> None:
        """Let the real controllers go on, or stand still."""
        os.kill(self.plane.pids["kube-controller-manager"], signal.SIGCONT if run else signal.SIGSTOP)


@contextmanager
def site(namespaces: int) -> Iterator[Site]:
    """Start everything and stop it at the end of the block."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lectern-scale-")))
        plane = stack.enter_context(control_plane())
        plane.install_crds(TREE / "crds", *(file for file in keda_crds() if file.stem in KEDA_KINDS))
        names = tuple(f"scale-n{number}" for number in range(namespaces))
        for name in names:
            make_namespace(plane, name)
        store = stack.enter_context(qdrant_double(directory / "qdrant"))
        broker = stack.enter_context(kafka(directory / "kafka"))
        found = Site(
            plane,
            stack.enter_context(_owners_followed(plane)),
            World(vector_store=store.url, broker=broker.bootstrap),
            stack.enter_context(_embedder()),
            names,
            directory,
        )
        stack.callback(found.controllers, run=True)  # a stopped process hears no SIGTERM
        yield found


def make_namespace(plane: ControlPlane, name: str) -> None:
    """Make a namespace and wait until its controllers have furnished it."""
    plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    def furnished() -> bool:
        try:
            plane.request("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default")
        except ApiRefused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    until(furnished, NAMESPACE_SECONDS, f"{name} got no service account")


@contextmanager
def stub_children(site: Site) -> Iterator[None]:
    """Let the stub tell every child to be well until the block ends."""
    file = site.directory / "stub.json"
    plane = site.plane
    file.write_text(json.dumps({"url": plane.url, "ca": str(plane.ca_file), "token": plane.token}))
    file.chmod(0o600)
    command = [sys.executable, "-m", "bench.operator.stub_children", str(file)]
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment) as process:
        try:
            started = file.with_suffix(".started")
            until(lambda: started.exists() or process.poll() is not None, STUB_SECONDS, "the stub did not start")
            yield
            assert process.poll() is None, "the stub ended by itself; see above"
        finally:
            process.kill()


@contextmanager
def _owners_followed(plane: ControlPlane) -> Iterator[Mirror]:
    found = Mirror(keep_history=False)

    async def body(started: Callable[[], None]) -> None:
        async with connect(plane.rest) as api, asyncio.TaskGroup() as tasks:
            for plural in OWNERS:
                tasks.create_task(found.follow(api, plural, f"/apis/lectern.dev/v1alpha1/{plural}"))
            started()

    with running("owners", body):
        yield found


class _Embedder(BaseHTTPRequestHandler):
    """A DOUBLE of an embedding server: right shapes, no meaning."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer /info and /health."""
        self._answer({"max_input_length": 512, "max_client_batch_size": 32} if self.path == "/info" else {})

    def do_POST(self) -> None:
        """Answer /embed."""
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        inputs = body["inputs"] if isinstance(body["inputs"], list) else [body["inputs"]]
        self._answer([[1.0] + [0.0] * (DIMENSIONS - 1) for _ in inputs])

    def _answer(self, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- named by the base class
        """Say nothing."""


@contextmanager
def _embedder() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Embedder)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wait_for(holds: Callable[[], object], seconds: float) -> float | None:
    """Return after how many seconds `holds()` was true; None when it was not in time."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            return None
        time.sleep(0.1)
    return time.monotonic() - began
