"""Pods as all our workloads have them: restricted, without token and service links, on a read-only root.

Every workload builder passes its container through `container` and `template`, so that Pod Security `restricted`
holds in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources.common import ManagedServer, Resources
from lectern_operator.desired.metadata import Manifest, Owner, child_labels, given, selector

USER = 10001
TEMPORARY = "/tmp"  # noqa: S108 -- the path inside the container, an emptyDir of its own
TEMPORARY_SIZE = "1Gi"
LEAST = {"cpu": "100m", "memory": "256Mi"}
"""What a container asks for of that which neither the requests nor the limits of its resource mention."""


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
        # where a container ends without a word of its own (refused settings), its last lines are in the pod's status
        terminationMessagePolicy="FallbackToLogsOnError",
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
    """Return the pod template of `role`; `placement` says on which nodes, where the resource says so.

    The pods run as the ServiceAccount of `service_account`, which the caller makes beside them.
    """
    scratch = {"name": "tmp", "emptyDir": {"sizeLimit": TEMPORARY_SIZE}}
    return {
        "metadata": given(labels=child_labels(of, role), annotations=dict(annotations or {})),
        "spec": {
            "serviceAccountName": names.child(of.name, role),
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
            **(_spread(of, role) if restart == "Always" else {}),
            **(_placement(placement) if placement is not None else {}),
        },
    }


def _spread(of: Owner, role: Role) -> Manifest:
    """Spread the pods of a Deployment over zones and nodes, where that does not keep one from running.

    Said for a single replica too, so that a second one is no new template and restarts nothing. Pods are counted by
    template: in the middle of a rollout the old ones do not push the new ones together.
    """
    return {
        "topologySpreadConstraints": [
            {
                "labelSelector": {"matchLabels": selector(of, role)},
                "matchLabelKeys": ["pod-template-hash"],
                "maxSkew": 1,
                "topologyKey": topology,
                "whenUnsatisfiable": "ScheduleAnyway",
            }
            for topology in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
    }


def _placement(server: ManagedServer) -> Manifest:
    """Say on which nodes a model server runs; those that are labelled with its compute capability are preferred."""
    found = given(
        nodeSelector=dict(server.node_selector),
        runtimeClassName=server.runtime_class_name,
        tolerations=[each.model_dump(by_alias=True, exclude_none=True) for each in server.tolerations],
    )
    if server.accelerator is None or server.accelerator.compute_capability is None:
        return found
    # a preference, because only NVIDIA's feature discovery sets these labels
    major, minor = server.accelerator.compute_capability.split(".")
    expressions = [
        {"key": f"nvidia.com/gpu.compute.{part}", "operator": "In", "values": [value]}
        for part, value in (("major", major), ("minor", minor))
    ]
    preferred = [{"weight": 100, "preference": {"matchExpressions": expressions}}]
    return found | {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}


def compute(
    resources: Resources, devices: Mapping[str, str] | None = None, *, least: Mapping[str, str] = LEAST
) -> Manifest:
    """Return requests and limits; `devices` (extended resources) are asked for in both, as they must be.

    Of `least` that is asked for which `resources` does not mention: a pod without requests is the first to be evicted
    and the last to be counted. A limit alone is its own request, by Kubernetes' rule.
    """
    extra = dict(devices or {})
    unsaid = {name: least[name] for name in sorted(least) if name not in {**resources.requests, **resources.limits}}
    return given(requests={**unsaid, **resources.requests, **extra}, limits={**resources.limits, **extra})


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
