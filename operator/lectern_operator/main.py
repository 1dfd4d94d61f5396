"""The program `lectern-operator`: reads its options, connects, and runs watches, queue, resync, watchdog and metrics.

The composition root: everything that the layers below are given is made here, and closed here when the process is
asked to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kopf

from lectern_contract.errors import ConfigurationError, LecternError
from lectern_contract.names import LABEL_PREFIX
from lectern_operator.clients import kube
from lectern_operator.clients.contents import Contents
from lectern_operator.clients.embedder import open_embedders
from lectern_operator.clients.kafka import open_brokers
from lectern_operator.clients.qdrant import open_stores
from lectern_operator.clients.runtime import open_runtimes
from lectern_operator.desired import images
from lectern_operator.desired.images import Images
from lectern_operator.handlers import lease as lease_handler
from lectern_operator.handlers import resync, served, startup, watching
from lectern_operator.handlers.boundary import Boundary
from lectern_operator.handlers.cache import ChildCache
from lectern_operator.handlers.cached_cluster import CachedCluster
from lectern_operator.handlers.events import Events
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.lease import Lease
from lectern_operator.handlers.queue import WorkQueue
from lectern_operator.handlers.serving import serving
from lectern_operator.handlers.stateless import NoDiff, NoProgress
from lectern_operator.handlers.telemetry import Telemetry
from lectern_operator.handlers.watching import View
from lectern_operator.reconcilers.outside import Outside
from lectern_operator.reconcilers.world import World

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

logger = logging.getLogger("lectern.operator")
INACTIVITY_SECONDS = 70.0
PATIENCE_SECONDS = 3 * INACTIVITY_SECONDS
STOP_SECONDS = 10.0
BACKOFFS = (3, 3, 3, 5, 8, 13, 21, *(30,) * 18)
"""Pauses between attempts of a watch, about ten minutes in all: an outage does not end in a crash loop.

kopf 1.45.2 reads the Retry-After of a 429 only, so that none is shorter than what a 503 usually asks for.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line and the environment say; `namespaces` empty means all of them."""

    namespaces: tuple[str, ...]
    kubeconfig: Path | None
    images: Images
    workers: int
    port: int
    resync_seconds: float
    log_level: str
    lease_namespace: str
    identity: str


def options(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read the options; raises `ConfigurationError` for an environment that makes no sense."""
    parser = argparse.ArgumentParser(prog="lectern-operator", description="Runs Lectern's resources on a cluster.")
    add = parser.add_argument
    add("--namespace", action="append", default=[], help="watch this namespace only; may be repeated (default: all)")
    add("--kubeconfig", type=Path, help="how to reach the cluster (default: $KUBECONFIG, else the service account)")
    add("--workers", type=_positive, default=16, help="resources that are looked at in parallel (default: 16)")
    add("--port", type=int, default=8080, help="port of /healthz and /metrics, 0 for any (default: 8080)")
    add("--resync-seconds", type=_positive, default=600, help="time between looks at everything (default: 600)")
    add(
        "--lease-namespace",
        default=environment.get("POD_NAMESPACE", ""),
        help="namespace of the Lease that lets one operator act (default: $POD_NAMESPACE, else no Lease)",
    )
    add("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"], help="lowest level logged")
    given = parser.parse_args(arguments)
    named = given.namespace or [name for name in environment.get("LECTERN_NAMESPACES", "").split(",") if name]
    kubeconfig = given.kubeconfig or (Path(environment["KUBECONFIG"]) if environment.get("KUBECONFIG") else None)
    if kubeconfig is not None and not kubeconfig.is_file():
        raise ConfigurationError(f"kubeconfig {kubeconfig} does not exist; name one with --kubeconfig or $KUBECONFIG")
    return Options(
        namespaces=tuple(dict.fromkeys(named)),
        kubeconfig=kubeconfig,
        images=images.from_environment(environment),
        workers=given.workers,
        port=given.port,
        resync_seconds=float(given.resync_seconds),
        log_level=given.log_level,
        lease_namespace=given.lease_namespace,
        identity=f"{environment.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}",
    )


async def run(chosen: Options) -> None:
    """Look after the cluster until the process is asked to stop or the watches fail."""
    configuration = await kube.load(chosen.kubeconfig)
    telemetry, view, known = Telemetry(), View(Inventory(), ChildCache(), WorkQueue()), served.Served()
    telemetry.queued.set_function(lambda: len(view.queue))
    telemetry.oldest.set_function(view.queue.age)
    telemetry.resources.set_function(lambda: len(view.inventory))
    telemetry.show_conditions(view.inventory.conditions)
    asked, ready, stop = _asked(), asyncio.Event(), asyncio.Event()
    scopes: tuple[str | None, ...] = chosen.namespaces or (None,)
    async with (
        _fenced(configuration, chosen, telemetry) as (cluster, lease),
        _outside(cluster, view) as outside,
        serving(telemetry, chosen.port, healthy=lambda: not stop.is_set(), ready=ready.is_set) as port,
    ):
        logger.info("started", extra={"port": port, "namespaces": ",".join(chosen.namespaces) or "all"})
        if not await _unless(asked, startup.first_look(cluster, view, known, scopes)):
            return
        world = World(CachedCluster(cluster, view, known), chosen.images, outside)
        boundary = Boundary(view.inventory, world, telemetry, Events(cluster, time.monotonic).tell, view.poke)

        async def passes() -> None:
            if lease is not None:
                await lease.acquired.wait()
                logger.info("active", extra={"lease": f"{chosen.lease_namespace}/{lease_handler.NAME}"})
            await view.queue.run(boundary.pass_over, workers=chosen.workers)

        followers = served.Followers(cluster, view, scopes, random.random)
        looks = resync.watchdog(
            view,
            cluster,
            scopes,
            every_seconds=resync.look_seconds(chosen.resync_seconds, most=INACTIVITY_SECONDS),
            patience_seconds=PATIENCE_SECONDS,
        )
        resyncs = resync.resync(view, every_seconds=chosen.resync_seconds, chance=random.random)
        tasks = [
            asyncio.create_task(passes(), name="queue"),
            asyncio.create_task(resyncs, name="resync"),
            asyncio.create_task(telemetry.watch_loop(), name="lag"),
            asyncio.create_task(looks, name="watchdog"),
            asyncio.create_task(served.keep(cluster, known, followers, view), name="kinds"),
        ]
        if lease is not None:
            tasks.append(asyncio.create_task(lease.run(), name="lease"))
        await _watch(chosen, view, tasks, asked=asked, ready=ready, stop=stop)


def _asked() -> asyncio.Event:
    """Return what is set when the process is asked to stop."""
    asked = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, asked.set)
    return asked


async def _unless(asked: asyncio.Event, act: Coroutine[Any, Any, None]) -> bool:
    """Carry out `act` unless the process is asked to stop before its end; say whether it was carried out."""
    acting, stopping = asyncio.create_task(act), asyncio.create_task(asked.wait())
    try:
        await asyncio.wait([acting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if acting.done():
            acting.result()
        return acting.done()
    finally:
        acting.cancel()
        stopping.cancel()
        await asyncio.wait([acting, stopping])


@asynccontextmanager
async def _outside(cluster: kube.Kube, view: View) -> AsyncIterator[Outside]:
    """Open the clients of everything that the operator asks beside the API server."""
    async with (
        open_embedders() as embedders,
        open_runtimes() as runtimes,
        open_brokers() as brokers,
        open_stores() as stores,
    ):
        yield Outside(
            contents=Contents(cluster, time.monotonic),
            embedders=embedders,
            runtimes=runtimes,
            brokers=brokers,
            stores=stores,
            knowledge_bases=lambda: view.inventory.count("KnowledgeBase"),
        )


@asynccontextmanager
async def _fenced(
    configuration: Configuration, chosen: Options, telemetry: Telemetry
) -> AsyncIterator[tuple[kube.Kube, Lease | None]]:
    """Open the client of the API server; with a Lease, no write passes that is not covered by it."""
    lease: Lease | None = None

    def fence() -> None:
        if lease is not None:
            lease.fence()

    async with kube.connect(configuration, counted=telemetry.called, fence=fence) as cluster:
        if chosen.lease_namespace:
            lease = Lease(cluster, chosen.lease_namespace, chosen.identity, time.monotonic)
        telemetry.active.set_function(lambda: 1.0 if lease is None or lease.held else 0.0)
        try:
            yield cluster, lease
        finally:
            if lease is not None:
                await lease.release()


async def _watch(
    chosen: Options,
    view: View,
    tasks: list[asyncio.Task[None]],
    *,
    asked: asyncio.Event,
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Run kopf beside `tasks` until a signal; whichever ends before ends the others, and its error is the program's.

    Our tasks end before kopf does: at its own end kopf waits for everything else that runs in its loop, and raises
    what that raised.
    """
    watches = kopf.operator(
        registry=_registry(chosen.kubeconfig, view, asked=asked, stop=stop),
        settings=kopf_settings(),
        clusterwide=not chosen.namespaces,
        namespaces=chosen.namespaces,
        standalone=True,
        ready_flag=ready,
        stop_flag=stop,
    )
    watcher = asyncio.create_task(watches, name="watches")
    signalled = asyncio.create_task(asked.wait(), name="signal")
    try:
        done, _ = await asyncio.wait([watcher, signalled, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        with suppress(TimeoutError):
            await asyncio.wait_for(view.queue.close(), STOP_SECONDS)
    finally:
        for each in (signalled, *tasks):
            each.cancel()
        await asyncio.wait([signalled, *tasks], timeout=STOP_SECONDS)
        stop.set()
        await asyncio.wait([watcher], timeout=STOP_SECONDS)


def _registry(
    kubeconfig: Path | None,
    view: View,
    *,
    asked: asyncio.Event,
    stop: asyncio.Event,
) -> kopf.OperatorRegistry:
    """Return the handlers for kopf: our watches, how to log in, and what a signal does (sets `asked`)."""
    registry = kopf.OperatorRegistry()
    watching.register(registry, view)

    @kopf.on.startup(registry=registry)
    async def take_signals(**_: object) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):  # kopf has set its own by now
            asyncio.get_running_loop().add_signal_handler(each, asked.set)

    @kopf.on.login(registry=registry)
    async def login(**_: object) -> kopf.ConnectionInfo:
        return await connection(await kube.load(kubeconfig))  # again after a 401: a token may be new

    @kopf.on.cleanup(registry=registry)
    async def stopping(**_: object) -> None:
        stop.set()  # without it kopf would wait five seconds for its own look at this flag

    return registry


def kopf_settings() -> kopf.OperatorSettings:
    """Return how kopf watches: patiently, and without writing anything."""
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = BACKOFFS
    settings.networking.enforce_retry_after = True
    settings.watching.inactivity_timeout = INACTIVITY_SECONDS
    settings.posting.enabled = False
    # never set, because no handler asks for one; and never ours, because kopf takes its own away where nobody does
    settings.persistence.finalizer = f"{LABEL_PREFIX}/never-set"
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.diffbase_storage = NoDiff()
    watching.select(settings)
    return settings


async def connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """Return for kopf what our own client was configured with: one way in, whichever it is."""
    token = await configuration.get_api_key_with_prefix("BearerToken") or ""
    scheme, _, secret = token.strip().rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme or "Bearer",
        token=secret or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )


_LISTS = ("resources", "children", "appeared", "went")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, message and the structured fields."""

    FIELDS = ("kind", "object", "result", "status_written", "cause", "port", "namespaces", "lease", *_LISTS)

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as one line."""
        line = {"time": self.formatTime(record), "level": record.levelname, "message": record.getMessage()}
        line |= {name: getattr(record, name) for name in self.FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def logs(level: str) -> None:
    """Send our logs and kopf's warnings to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler])
    for name in ("httpx", "kopf"):  # httpx tells every request
        logging.getLogger(name).setLevel(logging.WARNING)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the operator; return 0 after a stop that was asked for, 1 after a failure, 2 for wrong options."""
    try:
        chosen = options(sys.argv[1:] if arguments is None else arguments, os.environ)
    except ConfigurationError as error:
        print(f"lectern-operator: {error}", file=sys.stderr)  # noqa: T201 -- before logging is set up
        return 2
    logs(chosen.log_level)
    try:
        asyncio.run(run(chosen))
    except (LecternError, OSError) as error:
        return _ended(error)
    except BaseExceptionGroup as errors:
        if errors.subgroup(LecternError) is None:
            raise
        return _ended(errors.exceptions[0])
    return 0


def _ended(error: BaseException) -> int:
    logger.error("ended", extra={"cause": f"{type(error).__name__}: {error}"})
    return 1


if __name__ == "__main__":
    sys.exit(main())
