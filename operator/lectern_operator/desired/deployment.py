"""A Deployment and a Service around a pod template: what the servers and the workers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lectern_contract import labels, names
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
    notes = {}
    if replicas is not None:
        spec["replicas"] = replicas
        notes = {labels.REPLICAS: "fixed"}
    about = metadata(of, names.child(of.name, role), role, notes)
    return sealed({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": spec})


def handed_over(wanted: Mapping[str, Any], observed: Mapping[str, Any]) -> Manifest | None:
    """Return what to apply before `wanted`, so that its number of replicas stays as observed; None when it does anyway.

    A field that its only manager applies no more is removed, and the API server's default is one replica: a Deployment
    of five would lose four until its autoscaler brings them back. So another manager (`names.SCALING_MANAGER`) applies
    the number as it is, without force: a conflict means that an autoscaler has set another number since, and with it
    owns the field; then nothing has to be handed over. The next number that an autoscaler writes ends that hold.

    No replicas are not handed over: there is nothing to lose, and an autoscaler of Kubernetes never leaves zero.
    """
    if wanted["kind"] != "Deployment" or "replicas" in wanted["spec"]:
        return None
    fixed = labels.REPLICAS in observed["metadata"].get("annotations", {})
    if not fixed or not observed["spec"].get("replicas"):
        return None
    return {
        "apiVersion": wanted["apiVersion"],
        "kind": wanted["kind"],
        "metadata": {"name": wanted["metadata"]["name"], "namespace": wanted["metadata"]["namespace"]},
        "spec": {"replicas": observed["spec"]["replicas"]},
    }


def service(of: Owner, role: Role, port: int, *, headless: bool = False) -> Manifest:
    """Return the Service in front of the Deployment of `role`; a `headless` one has no address and balances nothing.

    A headless Service is how the metrics of pods that serve nobody are found. A PodMonitor would do as well; it would
    be one more kind to watch and to have rights on.
    """
    return sealed(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(of, names.child(of.name, role), role),
            "spec": {
                "type": "ClusterIP",
                **({"clusterIP": "None"} if headless else {}),
                "selector": selector(of, role),
                "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": "http"}],
            },
        }
    )
