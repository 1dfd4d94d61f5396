"""`lectern sources sync`: ask for a run of one source, and wait until it has ended and what it said is indexed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from lectern_cli.progress import Display, Reading
from lectern_cli.sources import Run, Source
from lectern_cli.sources_cluster import Body, Cluster
from lectern_contract import names
from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.reports import RunMode

LOOK_SECONDS = 0.5
CLUSTER_LOOK_SECONDS = 2.0
ANNOTATIONS: Mapping[RunMode, str] = {
    RunMode.SYNC: names.SYNC_REQUESTED,
    RunMode.FULL: names.FULL_RESYNC_REQUESTED,
}
HANDLED: Mapping[RunMode, str] = {
    RunMode.SYNC: "lastHandledSyncRequest",
    RunMode.FULL: "lastHandledFullResyncRequest",
}
Sleep = Callable[[float], Awaitable[None]]


class Up(Protocol):
    """What is needed of a running `lectern up`: `client.Client` has it."""

    async def sources(self) -> list[Source]:
        """Return what is known of each source."""
        ...

    async def sync(self, name: str, mode: RunMode) -> int:
        """Ask for a run, and return how many have ended once it has."""
        ...


async def of_up(
    up: Up, name: str, mode: RunMode, display: Display, *, within: float, sleep: Sleep = asyncio.sleep
) -> Run:
    """Ask a running `lectern up` for a run, wait for its end and for the worker, and return the run.

    Raises `DependencyError` when that takes longer than `within` seconds.
    """
    wanted, end = await up.sync(name, mode), time.monotonic() + within
    most = 0
    while True:
        source = _named(await up.sources(), name)
        if (source.finished_runs or 0) >= wanted and source.last_run is not None:
            if source.pending is not None:
                most = max(most, source.pending)
                display.tell(Reading(most - source.pending, most, source.last_run.failed), f"{name}: indexing")
            if source.pending == 0:
                return source.last_run
        elif source.running is not None:
            running = source.running
            display.tell(Reading(running.done, None, running.failed), f"{name}: reading the source")
        _check(end, name, within)
        await sleep(LOOK_SECONDS)


def ask_cluster(cluster: Cluster, namespace: str, name: str, mode: RunMode) -> str:
    """Ask the operator for a run, and return what it answers with in the status."""
    spec = _found(cluster, namespace, name)["spec"]
    if spec.get("push") is not None:
        raise ConfigurationError(f"IngestionSource/{name} is not run: callers send its documents")
    if spec.get("suspend"):
        raise ConfigurationError(f"IngestionSource/{name} is not run: its spec.suspend is true; set it to false first")
    value = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    cluster.annotate(namespace, name, {ANNOTATIONS[mode]: value})
    return value


async def of_cluster(
    cluster: Cluster,
    namespace: str,
    name: str,
    mode: RunMode,
    display: Display,
    *,
    within: float,
    sleep: Sleep = asyncio.sleep,
) -> Run:
    """Ask the operator for a run, wait until it says that the run has ended, and return the run.

    How far a run is, a cluster tells at its end only. Raises `DependencyError` after `within` seconds.
    """
    value, end = await asyncio.to_thread(ask_cluster, cluster, namespace, name, mode), time.monotonic() + within
    while True:
        status = await asyncio.to_thread(_status, cluster, namespace, name)
        run = Run.model_validate(status["lastRun"]) if status.get("lastRun") else None
        if status.get(HANDLED[mode]) == value and run is not None and run.result != "Running":
            return run
        under_way = run is not None and run.result == "Running"
        display.tell(Reading(0), f"{name}: {'reading the source' if under_way else 'waiting for its run'}")
        _check(end, name, within)
        await sleep(CLUSTER_LOOK_SECONDS)


def told(name: str, run: Run) -> str:
    """How a run ended, as one line."""
    counts = f"{run.listed} listed, {run.published} changed, {run.failed} failed, {run.deleted} gone"
    why = f": {run.message}" if run.message and (run.result == "Failed" or run.failed) else ""
    return f"IngestionSource/{name}: run {run.result.lower()}: {counts}{why}"


def _found(cluster: Cluster, namespace: str, name: str) -> Body:
    every = cluster.sources(namespace)
    for each in every:
        if each["metadata"]["name"] == name:
            return each
    offer = ", ".join(sorted(each["metadata"]["name"] for each in every)) or "none"
    raise ConfigurationError(f"there is no IngestionSource {name} in namespace {namespace}; there are: {offer}")


def _status(cluster: Cluster, namespace: str, name: str) -> Mapping[str, Any]:
    status: Mapping[str, Any] = _found(cluster, namespace, name).get("status") or {}
    return status


def _named(sources: list[Source], name: str) -> Source:
    for each in sources:
        if each.name == name:
            return each
    raise ConfigurationError(f"there is no IngestionSource {name} here")


def _check(end: float, name: str, within: float) -> None:
    if time.monotonic() > end:
        raise DependencyError(
            f"the run of IngestionSource/{name} has not ended after {within:.0f} s; it goes on: see "
            f"lectern sources status {name}",
            dependency="source",
        )
