"""The service account that the operator runs as in all of its tests: it has the rights of the table, and no others.

What a test needs and the table does not grant fails there with the API server's words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from e2e.testbed.audit import asked
from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.errors import ApiRefused
from lectern_operator import rights
from lectern_operator.rights import Reach

NAMESPACE = "operator-under-test"
NAME = "operator-under-test"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


def kubeconfig(plane: ControlPlane) -> Path:
    """Return the kubeconfig of the account, which is made where it is not there yet.

    The rights hold in all namespaces, those on Secrets and Leases too: each test has namespaces of its own. That they
    can be had for single namespaces is shown with the chart.
    """
    account = {"metadata": {"name": NAME}}
    role = {"metadata": {"name": NAME}, "rules": rights.rules(*Reach)}
    binding = {
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
    }
    for path, body in (
        ("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}}),
        (f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account),
        (f"{_RBAC}/clusterroles", role),
        (f"{_RBAC}/clusterrolebindings", binding),
    ):
        _made(plane, path, body)
    return plane.service_account(NAMESPACE, NAME)


def refused(plane: ControlPlane) -> set[tuple[str, str, str]]:
    """Return the rights that the operator has been refused since the control plane started."""
    log = plane.logs / "audit.log"
    return {each.right for each in asked(log, f"{NAMESPACE}:{NAME}") if each.forbidden}


def _made(plane: ControlPlane, path: str, body: dict[str, Any]) -> None:
    try:
        plane.request("POST", path, body)
    except ApiRefused as error:
        if error.status != 409:
            raise
