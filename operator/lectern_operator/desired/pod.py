"""Pods as all our workloads have them: restricted, without token and service links, on a read-only root.

Every workload builder passes its container through `container` and `template`, so that Pod Security `restricted`
holds in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lectern_contract.names import Role
from lectern_contract.resources.common import ManagedServer, Resources
from lectern_operator.desired.metadata import Manifest, Owner, child_labels, given

USER = 10001
TEMPORARY = "/tmp"  # noqa: S108 -- the path inside the container, an emptyDir of its own
TEMPORARY_SIZE = "1Gi"


def container(
    name: str,
    image: str,
    *,
    resources: Mapping[str, Any],
    mounts: Sequence[Manifest] = (),
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    probes: Mapping[str, Any] | None = None,
) -> Manifest:
    """Return one container; `probes` are whole probe fields by name, `port` is named http."""
    scratch = {"name": "tmp", "mountPath": TEMPORARY}
    return given(
        name=name,
        image=image,
        args=list(args),
        env=[{"name": key, "value": value} for key, value in sorted((environment or {}).items())],
        ports=[{"name": "http", "containerPort": port, "protocol": "TCP"}] if port else [],
        resources=dict(resources),
        volumeMounts=sorted([*mounts, scratch], key=lambda mount: str(mount["mountPath"])),
        securityContext={
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **(probes or {}),
    )


def template(
    of: Owner,
    role: Role,
    main: Manifest,
    *,
    volumes: Sequence[Manifest] = (),
    annotations: Mapping[str, str] | None = None,
    placement: ManagedServer | None = None,
    restart: Literal["Always", "Never"] = "Always",
    grace_seconds: int = 30,
) -> Manifest:
    """Return the pod template of `role`; `placement` says on which nodes, where the resource says so."""
    scratch = {"name": "tmp", "emptyDir": {"sizeLimit": TEMPORARY_SIZE}}
    where: Manifest = {}
    if placement is not None:
        where = given(
            nodeSelector=dict(placement.node_selector),
            runtimeClassName=placement.runtime_class_name,
            tolerations=[each.model_dump(by_alias=True, exclude_none=True) for each in placement.tolerations],
        )
    return {
        "metadata": given(labels=child_labels(of, role), annotations=dict(annotations or {})),
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": grace_seconds,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [main],
            "volumes": sorted([*volumes, scratch], key=lambda volume: str(volume["name"])),
            **where,
        },
    }


def compute(resources: Resources, devices: Mapping[str, str] | None = None) -> Manifest:
    """Return requests and limits; `devices` (extended resources) are asked for in both, as they must be."""
    extra = dict(devices or {})
    return given(requests={**resources.requests, **extra}, limits={**resources.limits, **extra})


def http_probe(path: str, *, period_seconds: int, failures: int, timeout_seconds: int = 5) -> Manifest:
    """Return a probe of the port named http."""
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period_seconds,
        "failureThreshold": failures,
        "timeoutSeconds": timeout_seconds,
    }


def runtime_probes() -> Manifest:
    """Return the probes of our own runtimes: they start within seconds and say when they are ready."""
    return {
        "startupProbe": http_probe("/livez", period_seconds=2, failures=60),
        "livenessProbe": http_probe("/livez", period_seconds=10, failures=6),
        "readinessProbe": http_probe("/readyz", period_seconds=5, failures=2),
    }


def claim(name: str, claim_name: str, path: str, *, read_only: bool = False) -> tuple[Manifest, Manifest]:
    """Return the volume and the mount of a PersistentVolumeClaim."""
    source = given(claimName=claim_name, readOnly=read_only or None)
    return {"name": name, "persistentVolumeClaim": source}, given(name=name, mountPath=path, readOnly=read_only or None)
