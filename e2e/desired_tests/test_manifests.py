"""The real API server takes every manifest of the golden cases as it is, and Pod Security `restricted` every pod.

Nothing is kept but the ServiceAccounts, without which no pod is admitted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.testbed.control_plane import ControlPlane, control_plane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.keda import keda_crds
from e2e.testbed.platform_crds import platform_crds
from lectern_contract import names
from lectern_operator.clients import kinds
from lectern_operator.policies.drift import drifted
from lectern_operator_tests.test_golden import CASES, TEST

Manifest = dict[str, Any]
NAMESPACE = str(TEST["namespace"])
PLATFORM = ("gateway.networking.k8s.io_httproutes", "monitoring.coreos.com_servicemonitors")
KEDA = ("keda.sh_scaledobjects", "keda.sh_triggerauthentications")


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Start a cluster with the kinds of other projects and a namespace that holds pods to `restricted`."""
    with control_plane() as started:
        started.install_crds(*platform_crds(*PLATFORM), *(file for file in keda_crds() if file.stem in KEDA))
        enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
        started.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": enforced}})
        runtime = {"metadata": {"name": "nvidia"}, "handler": "nvidia"}
        started.request("POST", "/apis/node.k8s.io/v1/runtimeclasses", runtime)
        yield started


def apply(plane: ControlPlane, manifest: Manifest, *, kept: bool = False) -> Manifest:
    """Apply as the operator does; a field that the kind does not have is an error."""
    path = kinds.ALL[manifest["kind"]].path(NAMESPACE, manifest["metadata"]["name"])
    query = f"fieldManager={names.FIELD_MANAGER}&force=true&fieldValidation=Strict{'' if kept else '&dryRun=All'}"
    return plane.request("PATCH", f"{path}?{query}", manifest, content_type="application/apply-patch+yaml")


def templates(manifests: list[Manifest]) -> Iterator[Manifest]:
    """Return every pod template."""
    for each in manifests:
        match each["kind"]:
            case "Deployment" | "Job":
                yield each["spec"]["template"]
            case "CronJob":
                yield each["spec"]["jobTemplate"]["spec"]["template"]


def create_pod(plane: ControlPlane, template: Manifest) -> Manifest:
    """Ask for a pod of `template` without keeping it."""
    pod = {"metadata": {**template["metadata"], "generateName": "pod-"}, "spec": template["spec"]}
    return plane.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All&fieldValidation=Strict", pod)


@pytest.mark.parametrize("case", CASES)
def test_every_manifest_is_taken_and_comes_back_as_it_was_wanted(case: str, plane: ControlPlane) -> None:
    for manifest in CASES[case]():
        found = apply(plane, manifest)
        assert not drifted(manifest, found), (manifest["kind"], manifest["metadata"]["name"])


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_admitted_and_pulls_with_the_secrets_of_its_account(case: str, plane: ControlPlane) -> None:
    manifests = CASES[case]()
    for account in (each for each in manifests if each["kind"] == "ServiceAccount"):
        apply(plane, account, kept=True)
    for template in templates(manifests):
        admitted = create_pod(plane, template)["spec"]
        assert admitted["imagePullSecrets"] == [{"name": "registry"}]
        assert [each["name"] for each in admitted["volumes"]] == [each["name"] for each in template["spec"]["volumes"]]


def test_the_namespace_would_refuse_a_pod_that_is_not_restricted(plane: ControlPlane) -> None:
    manifests = CASES["knowledge-base-minimal"]()
    for account in (each for each in manifests if each["kind"] == "ServiceAccount"):
        apply(plane, account, kept=True)
    loose = json.loads(json.dumps(next(templates(manifests))))
    del loose["spec"]["containers"][0]["securityContext"]["capabilities"]
    with pytest.raises(ApiRefused, match="violates PodSecurity"):
        create_pod(plane, loose)


def test_a_field_that_a_kind_does_not_have_would_be_refused(plane: ControlPlane) -> None:
    (policy, *_) = [each for each in CASES["knowledge-base-minimal"]() if each["kind"] == "NetworkPolicy"]
    policy["spec"]["egres"] = []
    with pytest.raises(ApiRefused, match="egres"):
        apply(plane, policy)
