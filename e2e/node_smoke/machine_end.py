"""What runs on the machine itself, at its end of the wire: a real Kafka, the Qdrant double, an embedder, a git remote.

The testbed's own starters listen on loopback, which no pod reaches; here everything listens at the address that pods
reach the machine by.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]

from e2e.node_smoke.cluster import fetch
from e2e.testbed import java, pieces
from e2e.testbed.errors import StartFailed
from e2e.testbed.kafka import FORMAT_SECONDS, JAVA_OPTIONS, SETTINGS, STARTED
from e2e.testbed.process import Processes
from lectern_runtime_tests.ingest import guarded_world
from lectern_runtime_tests.ingest.git_server import Repository, serving

START_SECONDS = 60.0
ROOT = Path(__file__).parents[2]
REPOSITORY: dict[str, bytes | None] = {
    "docs/machines.md": b"# Machines\n\nThe coffee machine is repaired by facility services. Call extension 4711.\n",
    "docs/deep/er/printers.md": b"# Printers\n\nToner lies in the grey cupboard beside each printer.\n",
    "README.md": b"# Handbook\n\nThis lies outside the folder that the source reads.\n",
}


@dataclass(frozen=True)
class MachineEnd:
    """Where each part answers, as pods see it."""

    kafka: str
    qdrant: str
    embedder: str
    git: str
    """The remote's address, which asks for the password of `git_server`."""
    git_authority: Path
    """The certificate by which its answers are trusted, PEM."""


@contextmanager
def machine_end(address: str, directory: Path) -> Iterator[MachineEnd]:
    """Start them at `address` with their files in `directory` and stop them at the end; raises StartFailed."""
    directory.mkdir(parents=True, exist_ok=True)
    kafka, controller, qdrant, embedder = _free_ports(address, 4)
    bootstrap, store_url, model_url = f"{address}:{kafka}", f"http://{address}:{qdrant}", f"http://{address}:{embedder}"
    with Processes(directory, stop_seconds=5.0) as processes, _git_remote(address, directory) as (remote, authority):
        properties = _properties(directory, bootstrap, f"{address}:{controller}")
        broker = processes.start("kafka", _java("kafka.Kafka", str(properties)))
        store = processes.start(
            "qdrant-double", _module("vector_store", address, qdrant, directory / "store"), _paths()
        )
        model = processes.start("embedder", _module("embedder", address, embedder), _paths())
        broker.wait_until(lambda: STARTED in broker.log.read_bytes(), START_SECONDS)
        store.wait_until(lambda: fetch(f"{store_url}/healthz")[0] == 200, START_SECONDS)
        model.wait_until(lambda: fetch(f"{model_url}/health")[0] == 200, START_SECONDS)
        yield MachineEnd(bootstrap, store_url, model_url, remote, authority)


@contextmanager
def _git_remote(address: str, directory: Path) -> Iterator[tuple[str, Path]]:
    """Serve a repository with REPOSITORY in it by git's own http-backend, over TLS and by password."""
    authority, context = guarded_world.certificate(directory, address)
    Repository.create(directory / "git" / "repository").write(REPOSITORY)
    with serving(directory / "git", tls=context, address=address) as server:
        server.passwords = True
        yield server.url(host=address), authority


def topics(bootstrap: str, prefix: str) -> list[str]:
    """Return the broker's topics whose names begin with `prefix`."""

    async def listed() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            return [str(name) for name in await admin.list_topics()]
        finally:
            await admin.close()

    return sorted(name for name in asyncio.run(listed()) if name.startswith(prefix))


def _properties(directory: Path, listener: str, controller: str) -> Path:
    """Write the broker's settings and format its directory: one open listener, everything else as in the testbed."""
    shutil.rmtree(directory / "kafka", ignore_errors=True)
    settings = {
        **SETTINGS,
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{listener},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{listener}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(directory / "kafka"),
    }
    for name in [name for name in settings if name.startswith(("ssl.", "sasl."))]:
        del settings[name]
    properties = directory / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in sorted(settings.items())))
    command = _java("kafka.tools.StorageTool", "format", "-t", str(uuid.uuid4()), "-c", str(properties))
    done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_SECONDS, check=False)
    if done.returncode != 0:
        said = " | ".join((done.stdout + done.stderr).strip().splitlines()[:5])
        raise StartFailed(f"Kafka's data directory cannot be formatted, status {done.returncode}: {said}")
    return properties


def _java(main: str, *arguments: str) -> list[str]:
    jars = pieces.path_of(pieces.KAFKA, os.environ) / "jars"
    return [str(java.find(os.environ)), *JAVA_OPTIONS, "-cp", f"{jars}/*", main, *arguments]


def _module(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"e2e.node_smoke.{name}", *map(str, arguments)]


def _paths() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}:{ROOT / 'runtimes'}"}


def _free_ports(address: str, count: int) -> tuple[int, ...]:
    """Find different ports that are free at `address` now."""
    sockets = [socket.create_server((address, 0)) for _ in range(count)]
    ports = tuple(each.getsockname()[1] for each in sockets)
    for each in sockets:
        each.close()
    return ports
