"""Many resources at once: all of them are told about, a restart writes nothing, and memory stays small.

A sample; the whole of A7 is `make bench-operator`. There are no pods: what is measured is the operator alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, eventually, running_operator
from lectern_operator_tests import worlds

PAIRS = 150
RESOURCES = 2 * PAIRS + 1
SECONDS = 120.0
FIRST_STATUS_SECONDS = 10.0
MOST_MEGABYTES = 180
"""150 MB and 30 KB for each resource, of which a sample as small as this has the first part almost alone."""
BASE = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1)


def pair(number: int) -> list[dict[str, Any]]:
    """Return a scheduled source and an endpoint, each with children of its own."""
    source = worlds.changed(worlds.SOURCE, schedule="@yearly")
    return [
        {**source, "metadata": {"name": f"source-{number}"}},
        {**worlds.ENDPOINT, "metadata": {"name": f"endpoint-{number}"}},
    ]


def told(objects: Objects) -> int:
    """Return how many sources and endpoints have a status."""
    found = [*objects.list("IngestionSource"), *objects.list("RagEndpoint")]
    return sum("observedGeneration" in each.get("status", {}) for each in found)


def at_rest(operator: RunningOperator, measure: Callable[[], float], seconds: float = 3.0) -> None:
    """Wait until `measure` has stayed the same for `seconds`."""
    deadline, before, since = time.monotonic() + SECONDS, measure(), time.monotonic()
    while time.monotonic() - since < seconds:
        assert time.monotonic() < deadline, operator.log.read_text()[-2000:]
        time.sleep(0.2)
        if (now := measure()) != before:
            before, since = now, time.monotonic()


def seconds_to_status(objects: Objects, name: str) -> float:
    """Create an endpoint and return how long it has to wait for its first status."""
    started = time.monotonic()
    objects.create({**worlds.ENDPOINT, "metadata": {"name": name}})
    eventually(lambda: "observedGeneration" in objects.get("RagEndpoint", name).get("status", {}), SECONDS)
    return time.monotonic() - started


def test_many_at_once_are_told_about_and_a_restart_writes_nothing(objects: Objects, work: Path) -> None:
    objects.create(BASE)
    with running_operator(objects.plane, work, namespace=objects.namespace) as operator:
        started = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(objects.create, [each for number in range(PAIRS) for each in pair(number)]))
        while told(objects) < 2 * PAIRS:
            assert time.monotonic() - started < SECONDS, f"{told(objects)} have a status"
            time.sleep(0.5)  # each look lists everything: a shorter pause would be most of the load
        seconds = time.monotonic() - started
        at_rest(operator, operator.writes)
        cold = operator.resident_megabytes()
    versions = objects.versions()
    started = time.monotonic()
    with running_operator(objects.plane, work, namespace=objects.namespace, resync_seconds=5) as operator:
        eventually(lambda: operator.passes() >= RESOURCES, SECONDS)
        idle = time.monotonic() - started
        assert operator.writes() == 0, "a restart wrote something"
        assert objects.versions() == versions
        waits = [seconds_to_status(objects, f"late-{number}") for number in range(10)]  # amid resyncs
        warm = operator.resident_megabytes()
    print(
        f"\n{RESOURCES} resources: told about in {seconds:.1f} s ({RESOURCES / seconds:.0f} a second), {cold:.0f} MB; "
        f"looked at again after {idle:.1f} s of a restart, {warm:.0f} MB; first status of a new one amid a resync: "
        f"median {statistics.median(waits):.2f} s, longest {max(waits):.2f} s"
    )
    assert max(waits) < FIRST_STATUS_SECONDS
    assert max(cold, warm) < MOST_MEGABYTES
