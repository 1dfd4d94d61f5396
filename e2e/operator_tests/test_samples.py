"""The minimal samples as a user applies them, KEDA that comes late, and a restart that writes nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from e2e.operator_tests.conftest import Keda
from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import ROOT, RunningOperator, conditions, eventually, quiet, running_operator

SAMPLES = ROOT / "config" / "samples" / "minimal"
SECONDS = 30.0
MOST_MEGABYTES = 150
"""The goal for an idle operator (quality.md A7)."""


@pytest.mark.usefixtures("claims", "fake_node")
def test_the_samples_become_ready_and_a_restart_writes_nothing(
    objects: Objects, work: Path, keda: Keda, record_property: pytest.FixtureRequest
) -> None:
    with keda():
        with running_operator(objects.plane, work, namespace=objects.namespace) as operator:
            started = time.monotonic()
            _apply_and_wait(objects)
            seconds_to_ready = time.monotonic() - started
            quiet(operator)
            versions, writes = objects.versions(), operator.writes()
            quiet(operator, 3)
            assert (objects.versions(), operator.writes()) == (versions, writes), "a later pass wrote something"
            megabytes = operator.resident_megabytes()
        with running_operator(objects.plane, work, namespace=objects.namespace, resync_seconds=2) as operator:
            eventually(lambda: operator.passes() >= 6, SECONDS)  # each resource at the start, and by the resync
            assert objects.versions() == versions, "a restart changed something"
            assert operator.writes() == 0, "a restart wrote something"
        assert megabytes < MOST_MEGABYTES
    print(f"\nready after {seconds_to_ready:.1f} s, {writes:.0f} writes, {megabytes:.0f} MB")


def _apply_and_wait(objects: Objects) -> None:
    kubectl, namespace = objects.plane.kubectl, objects.namespace
    _apply(objects)
    for kind in ("kb", "isrc", "rag"):
        kubectl("wait", "-n", namespace, "--for=condition=Ready", kind, "--all", f"--timeout={SECONDS:.0f}s")


def _apply(objects: Objects) -> None:
    """Apply the samples as they are, but for the addresses of their store and their broker."""
    assert objects.outside is not None
    documents = [each for file in sorted(SAMPLES.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text())]
    given = [objects.outside.given_to(each) if each["kind"] == "KnowledgeBase" else each for each in documents]
    objects.plane.kubectl("apply", "-n", objects.namespace, "-f", "-", stdin=yaml.safe_dump_all(given))


@pytest.mark.usefixtures("claims", "fake_node")
def test_keda_that_is_missing_is_named_and_its_arrival_mends_it_without_a_restart(
    objects: Objects, work: Path, keda: Keda
) -> None:
    def kb() -> dict[str, tuple[str, str]]:
        return conditions(objects.get("KnowledgeBase", "handbook"))

    def workers() -> int:
        replicas: int = objects.get("Deployment", "handbook-worker")["spec"]["replicas"]
        return replicas

    with running_operator(objects.plane, work, namespace=objects.namespace) as operator:
        _apply(objects)
        eventually(lambda: kb().get("Ready") == ("False", "KedaNotInstalled"), SECONDS, kb)
        eventually(lambda: kb()["WorkersReady"][0] == "True", SECONDS, kb)
        assert workers() == 1
        _quiet_writes(operator)
        with keda():
            eventually(lambda: kb()["Ready"][0] == "True", SECONDS, kb)
            scaled = objects.plane.request(
                "GET", f"/apis/keda.sh/v1alpha1/namespaces/{objects.namespace}/scaledobjects/handbook-worker"
            )
            assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]) == (0, 4)
            objects.merge("Deployment", "handbook-worker", {"spec": {"replicas": 3}})
            quiet(operator)
            assert workers() == 3, "the number of workers is KEDA's"


def _quiet_writes(operator: RunningOperator) -> None:
    quiet(operator)
    before = operator.writes()
    time.sleep(1)
    assert operator.writes() == before
