"""Fixtures of every test that needs the real API server or a real broker: one of each a session, one namespace a test.

A component that has not been built fails the test with the command that builds it; nothing is skipped. Run with
`-n0`: every worker of pytest-xdist would start a control plane of its own.
"""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.testbed import control_plane as testbed
from e2e.testbed import fake_node as fakes
from e2e.testbed import kafka as brokers
from e2e.testbed.errors import ApiRefused, StartFailed
from e2e.testbed.qdrant_double import QdrantDouble, qdrant_double

SESSION_USERS = (testbed.User("alice"), testbed.User("bob"))
NAMESPACE_SECONDS = 15.0
REAL = {"control_plane", "kafka"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a real component, so that `-m 'not integration'` leaves it out."""
    for item in items:
        if REAL & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[testbed.ControlPlane]:
    """Start a real control plane for the session; the users alice and bob have no rights."""
    with testbed.control_plane(users=SESSION_USERS) as plane:
        yield plane


@pytest.fixture(scope="session")
def kafka() -> Iterator[brokers.Kafka]:
    """Start a real Kafka for the session, or use the one that KAFKA_BOOTSTRAP names."""
    with brokers.kafka() as broker:
        yield broker


@pytest.fixture
def namespace(control_plane: testbed.ControlPlane) -> Iterator[str]:
    """Make a namespace of its own for the test, ready for pods, and delete it afterwards without waiting."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    control_plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    _await_ready_for_pods(control_plane, name)
    yield name
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")
    # No kubelet confirms the end of pods that are left, and the namespace would wait for them.
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}/pods", {"gracePeriodSeconds": 0})


@pytest.fixture
def fake_node(control_plane: testbed.ControlPlane, namespace: str) -> Iterator[fakes.FakeNode]:
    """Keep a node whose kubelet, a double, serves the test's namespace (see its docstring for what it cannot show)."""
    with fakes.fake_node(control_plane, namespace=namespace) as node:
        yield node


@pytest.fixture
def qdrant(tmp_path: Path) -> Iterator[QdrantDouble]:
    """Run a double of a Qdrant server for the test (see its docstring for what it cannot show); up in about 1 s."""
    with qdrant_double(tmp_path / "qdrant") as double:
        yield double


def _await_ready_for_pods(plane: testbed.ControlPlane, namespace: str) -> None:
    """Wait for what the controllers put into a new namespace: pods are refused or not started before."""
    deadline = time.monotonic() + NAMESPACE_SECONDS
    for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
        while True:
            try:
                plane.request("GET", f"/api/v1/namespaces/{namespace}/{path}")
                break
            except ApiRefused as refused:
                if refused.status != 404:
                    raise
            if time.monotonic() > deadline:
                raise StartFailed(
                    f"Namespace {namespace} got no {path} in {NAMESPACE_SECONDS:.0f} s; see {plane.logs}."
                )
            time.sleep(0.02)
