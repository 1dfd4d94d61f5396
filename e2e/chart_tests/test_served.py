"""The real API server takes every manifest that the chart can make, and Pod Security `restricted` takes every pod."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from e2e.chart_tests.rendering import BASE, NAMESPACE, ROOT, VARIANTS, kustomized, pods, rendered
from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.errors import ApiRefused, KubectlFailed
from e2e.testbed.helm import Helm
from e2e.testbed.platform_crds import platform_crds

NAMESPACES = (NAMESPACE, "team-a", "team-b")


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """Return a cluster with the namespaces of the variants and the kinds of the Prometheus operator."""
    for name in NAMESPACES:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        _applied(control_plane, "Namespace", f"/api/v1/namespaces/{name}", {"name": name, "labels": labels})
    for account in ("lectern-operator", "librarian"):  # a pod is refused where its account is missing
        accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        _applied(control_plane, "ServiceAccount", f"{accounts}/{account}", {"name": account})
    control_plane.install_crds(*platform_crds("monitoring.coreos.com_servicemonitors"))
    yield control_plane
    for name in NAMESPACES:
        control_plane.request("DELETE", f"/api/v1/namespaces/{name}")


def _applied(plane: ControlPlane, kind: str, path: str, metadata: dict[str, object]) -> None:
    body = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
    plane.request("PATCH", f"{path}?fieldManager=test&force=true", body, content_type="application/apply-patch+yaml")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_api_server_takes_every_manifest(helm_alone: Helm, plane: ControlPlane, variant: str) -> None:
    manifests = rendered(helm_alone, *VARIANTS[variant])
    answer = _dry_run(plane, manifests)
    assert len(answer.splitlines()) == len(manifests)


def test_the_api_server_takes_the_kustomize_base(plane: ControlPlane) -> None:
    assert len(_dry_run(plane, kustomized(BASE)).splitlines()) == len(kustomized(BASE))


def test_a_field_that_no_kind_has_would_be_seen(helm_alone: Helm, plane: ControlPlane) -> None:
    manifests = rendered(helm_alone)
    (deployment,) = [each for each in manifests if each["kind"] == "Deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["resource"] = {}
    with pytest.raises(KubectlFailed, match=r"\.resource: field not declared"):
        _dry_run(plane, [deployment])


def _dry_run(plane: ControlPlane, manifests: list[dict[str, object]]) -> str:
    """Send manifests as server-side apply that keeps nothing; every unknown field is an error."""
    text = "\n---\n".join(json.dumps(each) for each in manifests)
    arguments = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-")
    return plane.kubectl(*arguments, stdin=text, timeout=120).stdout


@pytest.mark.parametrize("variant", VARIANTS)
def test_pod_security_restricted_takes_every_pod(helm_alone: Helm, plane: ControlPlane, variant: str) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"
    names = []
    for name, pod in pods(rendered(helm_alone, *VARIANTS[variant])):
        metadata = {"name": "try", "labels": pod["metadata"]["labels"]}
        spec = {**pod["spec"], "serviceAccountName": "default", "priorityClassName": ""}
        plane.request("POST", path, {"metadata": metadata, "spec": spec})
        names.append(name.partition("/")[0])
        spec["securityContext"] = {}
        with pytest.raises(ApiRefused, match="violates PodSecurity"):
            plane.request("POST", path, {"metadata": metadata, "spec": spec})
    assert names == ["Deployment", "Pod", "Job"]


def test_the_samples_are_taken_beside_the_definitions_of_the_chart(helm_alone: Helm, plane: ControlPlane) -> None:
    definitions = [each for each in rendered(helm_alone) if each["kind"] == "CustomResourceDefinition"]
    text = "\n---\n".join(json.dumps(each) for each in definitions)
    plane.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    plane.kubectl("wait", "--for=condition=Established", "-f", "-", stdin=text)
    for directory in ("minimal", "full"):
        path = str(ROOT / "config" / "samples" / directory)
        plane.kubectl("apply", "-n", "team-a", "--server-side", "--dry-run=server", "-f", path)
    plane.kubectl("delete", "-f", "-", stdin=text)
