"""A control plane for the operator's tests alone: Lectern's kinds are installed, KEDA's are not until a test does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from e2e.operator_tests import account
from e2e.operator_tests.objects import Objects, Outside
from e2e.operator_tests.running import ROOT, RunningOperator, running_operator
from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.control_plane import control_plane as start_control_plane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.fake_keda import fake_keda
from e2e.testbed.kafka import Kafka
from e2e.testbed.keda import keda_crds
from e2e.testbed.qdrant_double import qdrant_double

Keda = Callable[[], AbstractContextManager[None]]
CLAIMS = ("blobs", "guides", "lectern-blobs", "handbook-files")
KEDA_PATH = "/apis/keda.sh/v1alpha1/scaledobjects"
KEDA_SECONDS = 20.0
USED = ("keda.sh_scaledobjects", "keda.sh_triggerauthentications")


@pytest.fixture(scope="package")
def control_plane() -> Iterator[ControlPlane]:
    """Start a control plane in which no other test installs kinds."""
    with start_control_plane() as plane:
        plane.install_crds(ROOT / "crds")
        yield plane
        assert account.refused(plane) == set(), "the operator has asked for what the table of rights does not grant"


@pytest.fixture(scope="module")
def operator(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOperator]:
    """Run one operator for all namespaces and all tests of a file."""
    with running_operator(control_plane, tmp_path_factory.mktemp("operator")) as running:
        yield running


@pytest.fixture
def claims(control_plane: ControlPlane, namespace: str) -> None:
    """Make the claims that the pods of the tests mount."""
    for name in CLAIMS:
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        control_plane.request("POST", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", claim)


@pytest.fixture
def keda(control_plane: ControlPlane, namespace: str) -> Keda:
    """Return what installs KEDA's kinds with a double of its operator, and removes them at the end of the block."""

    @contextmanager
    def installed() -> Iterator[None]:
        control_plane.install_crds(*(file for file in keda_crds() if file.stem in USED))
        _await_served(control_plane, served=True)
        with fake_keda(control_plane, namespace=namespace):
            yield
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for stem in USED:
            group, _, plural = stem.partition("_")
            control_plane.request("DELETE", f"{definitions}/{plural}.{group}")
        _await_served(control_plane, served=False)

    return installed


def _await_served(plane: ControlPlane, *, served: bool) -> None:
    deadline = time.monotonic() + KEDA_SECONDS
    while _answers(plane) != served:
        assert time.monotonic() < deadline, f"ScaledObject is not {'' if served else 'un'}served"
        time.sleep(0.1)


def _answers(plane: ControlPlane) -> bool:
    try:
        plane.request("GET", KEDA_PATH)
    except ApiRefused as refused:
        if refused.status not in (404, 429):
            raise
        return False
    return True


@pytest.fixture(scope="package")
def outside(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """Start a vector store (a double, unless QDRANT_URL names a real one) beside the session's Kafka."""
    if url := os.environ.get("QDRANT_URL"):
        yield Outside(url, kafka.bootstrap)
        return
    with qdrant_double(tmp_path_factory.mktemp("qdrant")) as double:
        yield Outside(double.url, kafka.bootstrap)


@pytest.fixture
def objects(control_plane: ControlPlane, namespace: str, outside: Outside) -> Objects:
    """Return short ways to what is in the test's namespace."""
    return Objects(control_plane, namespace, outside)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a directory for the logs of a test's own operator."""
    return tmp_path
