"""The rights of the chart are what the operator uses, no less and no more.

Helm installs the chart; the operator runs as its service account beside every optional kind, and lives through a
journey that makes, mends and removes each child. What it asked for is read from the API server's audit log.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.chart_tests import journey
from e2e.chart_tests.rendering import CHART, NAMESPACE, RELEASE, ROOT, documents, of_kind
from e2e.operator_tests.running import running_operator
from e2e.testbed.audit import Asked, asked
from e2e.testbed.control_plane import ControlPlane, control_plane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.fake_keda import fake_keda
from e2e.testbed.fake_node import fake_node
from e2e.testbed.helm import Helm, helm
from e2e.testbed.keda import keda_crds
from e2e.testbed.platform_crds import platform_crds, strimzi_crds
from lectern_operator import rights
from lectern_operator.rights import Reach

ACCOUNT = f"{NAMESPACE}:{RELEASE}-operator"
OPTIONAL = ("gateway.networking.k8s.io_httproutes", "monitoring.coreos.com_servicemonitors")
LEASE = ("--lease-namespace", NAMESPACE)
AUDIT_SECONDS = 2.0
Right = tuple[str, str, str]


@contextmanager
def cluster(home: Path, *settings: str) -> Iterator[tuple[ControlPlane, Path]]:
    """Start a control plane with every optional kind and the chart in it.

    Yields it, and a kubeconfig of the operator's service account.
    """
    with control_plane() as plane:
        kinds = [file for file in keda_crds() if file.stem in journey.KEDA]
        plane.install_crds(*kinds, *platform_crds(*OPTIONAL), *strimzi_crds())
        for name in (NAMESPACE, journey.TEAM):
            plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        helm(home, plane).run("install", RELEASE, str(CHART), "--namespace", NAMESPACE, *settings)
        yield plane, plane.service_account(*ACCOUNT.split(":"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> list[Asked]:
    """Let the operator make its journey with the rights of the chart alone; return what it asked for."""
    home = tmp_path_factory.mktemp("rights")
    with (
        cluster(home, "--set", f"rbac.secretNamespaces={{{journey.TEAM}}}") as (plane, kubeconfig),
        fake_node(plane, namespace=journey.TEAM) as node,
        fake_keda(plane, namespace=journey.TEAM),
    ):
        with running_operator(plane, home, resync_seconds=5, arguments=LEASE, kubeconfig=kubeconfig):
            journey.travel(plane, node)
        _run_hook(plane, helm(home, plane), kubeconfig)
        return _settled(plane.logs / "audit.log")


def _run_hook(plane: ControlPlane, user: Helm, kubeconfig: Path) -> None:
    """Run what the chart's Job runs before an uninstall, as its account, while an object waits for the operator."""
    path = journey.wait_for_the_operator(plane)
    (job,) = of_kind(documents(user.run("get", "hooks", RELEASE, "--namespace", NAMESPACE)), "Job")
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[0] == "python"
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'runtimes'}",
    }
    done = subprocess.run(
        [sys.executable, *command[1:]], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, f"{journey.TEAM}/waiting is free" in done.stdout) == (0, True), done.stdout + done.stderr
    with pytest.raises(ApiRefused, match="not found"):
        plane.request("GET", path)


def _settled(file: Path) -> list[Asked]:
    """Return the requests in the log, once no more are added."""
    deadline = time.monotonic() + 10 * AUDIT_SECONDS
    before, found = -1, list(asked(file, ACCOUNT))
    while len(found) != before:
        assert time.monotonic() < deadline, "the operator has ended, and its requests do not"
        time.sleep(AUDIT_SECONDS / 4)
        before, found = len(found), list(asked(file, ACCOUNT))
    return found


def test_nothing_is_asked_for_that_is_not_granted(log: list[Asked]) -> None:
    refused = {(*each.right, each.namespace) for each in log if each.forbidden}
    assert refused == set()


def test_every_right_that_is_granted_is_used(log: list[Asked]) -> None:
    used = {each.right for each in log}
    # Server-side apply of what does not exist is checked as `create` besides, and logged as `patch` alone.
    used |= {(each.group, each.resource, "create") for each in log if (each.verb, each.status) == ("patch", 201)}
    granted = rights.granted(*Reach)
    print(f"{len(log)} requests, {len(used)} rights used, {len(granted)} granted")
    unused = granted - used - journey.NOT_SEEN_IN_AN_AUDIT_LOG
    assert unused == set(), f"granted, and not used: {sorted(unused)}"


def test_each_right_is_used_within_its_reach(log: list[Asked]) -> None:
    outside = {
        (right.reach, *each.right, each.namespace)
        for each in log
        for right in rights.RIGHTS
        if (right.group, right.resource) == (each.group, each.resource) and each.verb in right.verbs
        if (right.reach is Reach.OWN and each.namespace != NAMESPACE)
        or (right.reach is Reach.SECRETS and each.namespace != journey.TEAM)
    }
    assert outside == set()


def test_an_operator_of_one_namespace_asks_for_nothing_outside_of_it(tmp_path: Path) -> None:
    with (
        cluster(tmp_path, "--set", f"watchNamespaces={{{journey.TEAM}}}") as (plane, kubeconfig),
        fake_node(plane, namespace=journey.TEAM),
        fake_keda(plane, namespace=journey.TEAM),
    ):
        with running_operator(plane, tmp_path, namespace=journey.TEAM, arguments=LEASE, kubeconfig=kubeconfig):
            journey.visit(plane)
        found = _settled(plane.logs / "audit.log")
    assert {(*each.right, each.namespace) for each in found if each.forbidden} == set()
    assert {each.namespace for each in found} == {journey.TEAM, NAMESPACE}
    assert {each.resource for each in found if each.namespace == NAMESPACE} == {"leases"}
