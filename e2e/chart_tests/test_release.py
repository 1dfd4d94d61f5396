"""A release through its life, by the real helm: installed, tested, upgraded, uninstalled, installed again.

The fake node starts no containers: `helm --wait` waits for what the node reports, hooks succeed because their pods are
said to succeed. What `helm test` runs is run here as a program of this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.chart_tests.rendering import CHART, ROOT, by_key, documents, of_kind
from e2e.operator_tests.running import eventually, running_operator
from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.fake_node import FakeNode, Pod, PodOutcome
from e2e.testbed.helm import Helm, HelmFailed, helm
from lectern_operator_tests import worlds

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMES = ("ingestionsources.lectern.dev", "knowledgebases.lectern.dev", "ragendpoints.lectern.dev")
SECONDS = 30.0
# The API server retries the clean-up of a definition with growing pauses while its storage is still starting.
REMOVED_SECONDS = 120.0
WAIT = ("--wait", "--timeout=60s")


def definitions(plane: ControlPlane) -> dict[str, dict[str, Any]]:
    """Return our definitions by name."""
    items = plane.request("GET", DEFINITIONS)["items"]
    return {each["metadata"]["name"]: each for each in items if each["metadata"]["name"] in NAMES}


@pytest.fixture(autouse=True)
def nothing_is_left(control_plane: ControlPlane, namespace: str) -> Iterator[None]:
    """Take away what a test has put outside its namespace, also where it fails."""
    yield
    kinds = "clusterrole,clusterrolebinding"
    control_plane.kubectl("delete", kinds, "-l", "app.kubernetes.io/part-of=lectern", "--ignore-not-found")
    removed(control_plane)


def removed(plane: ControlPlane) -> None:
    """Remove our definitions and wait until they are gone."""
    for name in definitions(plane):
        plane.request("DELETE", f"{DEFINITIONS}/{name}")
    eventually(lambda: not definitions(plane), REMOVED_SECONDS, lambda: _conditions(plane))


def _conditions(plane: ControlPlane) -> dict[str, list[str]]:
    """Return what the API server says of definitions that are still there."""
    return {
        name: [f"{each['type']}={each['status']}: {each.get('message', '')}" for each in body["status"]["conditions"]]
        for name, body in definitions(plane).items()
    }


def install(user: Helm, namespace: str, *arguments: str) -> str:
    """Install the chart as the release lectern."""
    return user.run("install", "lectern", str(CHART), "--namespace", namespace, *arguments)


def test_a_release_lives_goes_and_comes_back_and_the_resources_stay(
    admin: Helm, control_plane: ControlPlane, namespace: str, fake_node: FakeNode
) -> None:
    fake_node.ready_after = 0.2
    notes = install(admin, namespace, *WAIT)
    assert "all namespaces" in notes
    assert "It may read no Secrets" in notes
    assert "KEDA is not installed" in notes
    deployment = f"/apis/apps/v1/namespaces/{namespace}/deployments/lectern-operator"
    assert control_plane.request("GET", deployment)["status"]["availableReplicas"] == 1
    assert sorted(definitions(control_plane)) == sorted(NAMES)
    resource = {**worlds.KNOWLEDGE_BASE, "metadata": {"name": "docs"}}
    path = f"/apis/lectern.dev/v1alpha1/namespaces/{namespace}/knowledgebases"
    uid = control_plane.request("POST", path, resource)["metadata"]["uid"]

    assert "Phase:          Succeeded" in admin.run("test", "lectern", "--namespace", namespace)

    before = {name: each["metadata"]["uid"] for name, each in definitions(control_plane).items()}
    admin.run("upgrade", "lectern", str(CHART), "--namespace", namespace, *WAIT, "--set", "operator.replicas=2")
    assert control_plane.request("GET", deployment)["spec"]["replicas"] == 2

    admin.run("uninstall", "lectern", "--namespace", namespace, *WAIT)
    with pytest.raises(ApiRefused, match="not found"):
        control_plane.request("GET", deployment)
    assert of_release(control_plane, namespace) == []
    assert {name: each["metadata"]["uid"] for name, each in definitions(control_plane).items()} == before
    assert control_plane.request("GET", f"{path}/docs")["metadata"]["uid"] == uid

    install(admin, namespace, *WAIT)
    assert {name: each["metadata"]["uid"] for name, each in definitions(control_plane).items()} == before
    assert control_plane.request("GET", f"{path}/docs")["metadata"]["uid"] == uid
    admin.run("uninstall", "lectern", "--namespace", namespace, *WAIT)


def of_release(plane: ControlPlane, namespace: str) -> list[str]:
    """Return what a release has left, apart from the definitions."""
    kinds = "all,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,networkpolicy,pdb"
    labels = "app.kubernetes.io/instance=lectern,app.kubernetes.io/component!=finalize"
    return plane.kubectl("get", kinds, "-n", namespace, "-l", labels, "-o", "name").stdout.split()


def test_a_second_upgrade_with_the_same_values_changes_nothing(
    admin: Helm, control_plane: ControlPlane, namespace: str
) -> None:
    install(admin, namespace)
    before = _versions(control_plane, namespace)
    admin.run("upgrade", "lectern", str(CHART), "--namespace", namespace)
    assert _versions(control_plane, namespace) == before
    admin.run("uninstall", "lectern", "--namespace", namespace, "--no-hooks")


def _versions(plane: ControlPlane, namespace: str) -> dict[str, int]:
    """Return the generation of the Deployment and the resource versions of what nobody but helm writes."""
    kinds = "serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,networkpolicy,service,crd"
    text = plane.kubectl("get", kinds, "-n", namespace, "-l", "app.kubernetes.io/instance=lectern", "-o", "json").stdout
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
        for each in json.loads(text)["items"]
    }


def test_kinds_of_another_release_are_not_taken_by_accident(
    admin: Helm, control_plane: ControlPlane, namespace: str
) -> None:
    install(admin, namespace)
    with pytest.raises(HelmFailed, match="cannot be imported into the current release"):
        admin.run("install", "other", str(CHART), "--namespace", namespace)
    admin.run("install", "other", str(CHART), "--namespace", namespace, "--set", "crds.enabled=false")
    for release in ("other", "lectern"):
        admin.run("uninstall", release, "--namespace", namespace, "--no-hooks")
    assert sorted(definitions(control_plane)) == sorted(NAMES)


def test_kinds_go_with_the_release_where_that_is_asked(
    admin: Helm, control_plane: ControlPlane, namespace: str
) -> None:
    install(admin, namespace, "--set", "crds.keep=false")
    admin.run("uninstall", "lectern", "--namespace", namespace, "--no-hooks")
    eventually(lambda: not definitions(control_plane), REMOVED_SECONDS, lambda: _conditions(control_plane))


def test_an_uninstallation_whose_finalize_fails_says_so_and_leaves_the_operator(
    admin: Helm, control_plane: ControlPlane, namespace: str, fake_node: FakeNode
) -> None:
    def outcome(pod: Pod) -> PodOutcome | None:
        return PodOutcome(exit_code=1) if "finalize" in pod["metadata"]["name"] else None

    fake_node.outcome = outcome
    install(admin, namespace, *WAIT)
    with pytest.raises(HelmFailed, match="lectern-finalize"):
        admin.run("uninstall", "lectern", "--namespace", namespace, "--timeout=60s")
    deployment = f"/apis/apps/v1/namespaces/{namespace}/deployments/lectern-operator"
    assert control_plane.request("GET", deployment)["status"]["availableReplicas"] == 1
    admin.run("uninstall", "lectern", "--namespace", namespace, "--no-hooks")


def test_somebody_without_rights_to_the_cluster_installs_for_their_namespace(
    admin: Helm, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    install(admin, namespace)  # the cluster's administrator brings the kinds
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.request("POST", accounts, {"metadata": {"name": "tenant"}})
    binding = f"--serviceaccount={namespace}:tenant"
    control_plane.kubectl("create", "rolebinding", "tenant", "--clusterrole=admin", binding, "-n", namespace)
    # Who grants a right must hold it: Lectern's kinds by the aggregated roles, the optional kinds by those of others.
    rights = of_kind(
        documents(
            admin.run(
                "template", "x", str(CHART), "--namespace", namespace, "--set", f"watchNamespaces={{{namespace}}}"
            )
        ),
        "Role",
    )
    for number, role in enumerate(rights):
        body = {**role, "metadata": {"name": f"holds-{number}", "namespace": namespace}}
        control_plane.kubectl("create", "-f", "-", stdin=json.dumps(body))
        control_plane.kubectl(
            "create", "rolebinding", f"holds-{number}", f"--role=holds-{number}", binding, "-n", namespace
        )
    tenant = helm(tmp_path / "tenant", kubeconfig=control_plane.service_account(namespace, "tenant"))
    settings = ("--set", f"watchNamespaces={{{namespace}}},crds.enabled=false,rbac.aggregate=false")
    tenant.run("install", "mine", str(CHART), "--namespace", namespace, *settings)
    found = by_key(documents(tenant.run("get", "manifest", "mine", "--namespace", namespace)))
    assert f"Role/{namespace}/mine-lectern-operator" in found
    tenant.run("uninstall", "mine", "--namespace", namespace, "--no-hooks")
    admin.run("uninstall", "lectern", "--namespace", namespace, "--no-hooks")


def test_the_program_of_helm_test_tells_a_healthy_operator_from_a_missing_kind(
    admin: Helm, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "ca.crt").write_bytes(control_plane.ca_file.read_bytes())
    token = json.loads(control_plane.service_account(namespace, "default").read_text())["users"][0]["user"]["token"]
    (account / "token").write_text(token)
    address = urlsplit(control_plane.url)
    environment = {
        "ACCOUNT": str(account),
        "KUBERNETES_SERVICE_HOST": str(address.hostname),
        "KUBERNETES_SERVICE_PORT": str(address.port),
    }

    def tried(port: int) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, str(CHART / "tests" / "smoke.py")]
        asked = {**os.environ, **environment, "OPERATOR": f"127.0.0.1:{port}"}
        return subprocess.run(program, env=asked, capture_output=True, text=True, timeout=60, check=False)

    without = tried(1)
    assert (without.returncode, "refused" in without.stderr) == (1, True)
    control_plane.install_crds(ROOT / "crds")
    with running_operator(control_plane, tmp_path, namespace=namespace) as operator:
        healthy = tried(operator.port)
        assert healthy.stdout.splitlines() == ["the operator is healthy", "the API server serves all three kinds"]
        control_plane.request("DELETE", f"{DEFINITIONS}/ragendpoints.lectern.dev")
        eventually(lambda: tried(operator.port).returncode == 1, SECONDS)
        assert "not served: RagEndpoint" in tried(operator.port).stderr
