"""Two operator processes and one Lease: one acts, the other takes over, and nobody writes who was passed by."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import RunningOperator, conditions, eventually, running_operator
from e2e.testbed.control_plane import ControlPlane
from lectern_operator.handlers.lease import DURATION_SECONDS, FENCE_SECONDS
from lectern_operator_tests import worlds

Start = Callable[..., AbstractContextManager[RunningOperator]]
TAKE_OVER_SECONDS = DURATION_SECONDS + 10
SOURCE = worlds.changed(worlds.SOURCE, suspend=True)


@pytest.fixture
def start(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Start:
    """Return what starts another operator of the namespace, with the namespace's Lease."""

    def started(*, ends_with: int | None = 0) -> AbstractContextManager[RunningOperator]:
        lease = ("--lease-namespace", namespace)
        return running_operator(control_plane, tmp_path, namespace=namespace, arguments=lease, ends_with=ends_with)

    return started


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Hold the processes of a test."""
    with ExitStack() as held:
        yield held


def active(operator: RunningOperator) -> bool:
    return operator.metrics()["lectern_operator_active"] == 1.0


def acted_on(objects: Objects, name: str) -> None:
    """Create a source and wait until an operator has written its status."""
    objects.create({**SOURCE, "metadata": {"name": name}})
    eventually(lambda: conditions(objects.get("IngestionSource", name)), TAKE_OVER_SECONDS)


def lease(objects: Objects) -> dict[str, Any]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{objects.namespace}/leases/lectern-operator"
    spec: dict[str, Any] = objects.plane.request("GET", path)["spec"]
    return spec


def test_a_standby_writes_nothing_and_begins_at_once_after_a_clean_stop(
    objects: Objects, start: Start, stack: ExitStack
) -> None:
    first = stack.enter_context(start(ends_with=None))
    eventually(lambda: active(first), 10)
    second = stack.enter_context(start())
    acted_on(objects, "one")
    assert (active(second), second.writes()) == (False, 0)
    first.process.terminate()
    assert first.process.wait(15) == 0, first.log.read_text()
    assert lease(objects)["holderIdentity"] == "" or active(second)
    eventually(lambda: active(second), FENCE_SECONDS)
    acted_on(objects, "two")


def test_a_standby_takes_over_after_a_crash(objects: Objects, start: Start, stack: ExitStack) -> None:
    first = stack.enter_context(start(ends_with=None))
    eventually(lambda: active(first), 10)
    second = stack.enter_context(start())
    first.process.kill()
    first.process.wait()
    eventually(lambda: active(second), TAKE_OVER_SECONDS)
    acted_on(objects, "one")
    assert lease(objects)["leaseTransitions"] == 1


def test_a_holder_that_was_stopped_writes_nothing_after_it_wakes_up(
    objects: Objects, start: Start, stack: ExitStack
) -> None:
    first = stack.enter_context(start(ends_with=None))
    eventually(lambda: active(first), 10)
    acted_on(objects, "one")
    second = stack.enter_context(start())
    first.process.send_signal(signal.SIGSTOP)
    eventually(lambda: active(second), TAKE_OVER_SECONDS)
    acted_on(objects, "two")
    before = objects.versions()
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(20) == 1, first.log.read_text()
    assert "LeaseLost" in first.log.read_text()
    assert objects.versions() == before
