"""A Deployment and a Service around a pod template: what the servers and the workers have in common."""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_operator.desired.metadata import Manifest, Owner, metadata, sealed, selector

HISTORY = 2


def deployment(
    of: Owner,
    role: Role,
    template: Manifest,
    *,
    replicas: int | None,
    surge: bool = True,
    deadline_seconds: int = 600,
) -> Manifest:
    """Return the Deployment of `role`; `replicas` None leaves the number to an autoscaler.

    Without `surge` an old pod ends before its successor starts: what holds a device or a volume of one node
    would otherwise wait for itself.
    """
    spec: Manifest = {
        "selector": {"matchLabels": selector(of, role)},
        "template": template,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1 if surge else 0, "maxUnavailable": 0 if surge else 1},
        },
        "revisionHistoryLimit": HISTORY,
        "progressDeadlineSeconds": deadline_seconds,
    }
    if replicas is not None:
        spec["replicas"] = replicas
    name = names.child(of.name, role)
    return sealed({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(of, name, role), "spec": spec})


def service(of: Owner, role: Role, port: int) -> Manifest:
    """Return the Service in front of the Deployment of `role`."""
    return sealed(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(of, names.child(of.name, role), role),
            "spec": {
                "type": "ClusterIP",
                "selector": selector(of, role),
                "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": "http"}],
            },
        }
    )
