"""From what is wanted and what was observed to what has to be written: nothing, where they agree.

Reconcilers call `changes` with the manifests of `desired` and apply the result in its order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from lectern_operator.policies import workload
from lectern_operator.policies.drift import drifted

Manifest = dict[str, Any]
Key = tuple[str, str]
"""Kind and name of a child."""

ORDER = (
    "ServiceAccount",
    "NetworkPolicy",
    "ConfigMap",
    "Secret",
    "PersistentVolumeClaim",
    "KafkaTopic",
    "Service",
    "TriggerAuthentication",
    "PodDisruptionBudget",
    "Deployment",
    "ScaledObject",
    "HorizontalPodAutoscaler",
    "CronJob",
    "Job",
    "Ingress",
    "HTTPRoute",
    "ServiceMonitor",
)
"""Kinds in the order of apply: what is referred to comes first."""
_WRITTEN_ONCE = frozenset({"Job", "Secret"})
"""A run is asked for once, and its template cannot change after that; a secret that we made is random and stays."""
_PRUNED_FIRST = frozenset({"HorizontalPodAutoscaler", "ScaledObject"})
"""An autoscaler that is wanted no more must not fight over the replicas that we write next."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one pass writes, in this order; `prune_first` and `prune` are objects as they were observed."""

    prune_first: tuple[Manifest, ...] = ()
    apply: tuple[Manifest, ...] = ()
    prune: tuple[Manifest, ...] = ()

    def __bool__(self) -> bool:
        """Say whether there is anything to write."""
        return bool(self.prune_first or self.apply or self.prune)


def key(manifest: Mapping[str, Any]) -> Key:
    """Return kind and name of `manifest`."""
    return str(manifest["kind"]), str(manifest["metadata"]["name"])


def owned(manifest: Mapping[str, Any], uid: str) -> bool:
    """Say whether the resource with `uid` is an owner of `manifest`; a copied label alone makes no child."""
    return any(reference["uid"] == uid for reference in manifest["metadata"].get("ownerReferences", ()))


def changes(
    wanted: Iterable[Manifest], children: Mapping[Key, Manifest], *, uid: str, keep: Set[Key] = frozenset()
) -> Changes:
    """Compare `wanted` with the observed `children` of the owner `uid`; `keep` is never pruned."""
    by_key = {key(manifest): manifest for manifest in wanted}
    to_apply = [manifest for name, manifest in by_key.items() if _differs(manifest, children.get(name))]
    surplus = [
        child
        for name, child in sorted(children.items())
        if name not in by_key
        and name not in keep
        and owned(child, uid)
        and not child["metadata"].get("deletionTimestamp")
    ]
    return Changes(
        prune_first=tuple(child for child in surplus if child["kind"] in _PRUNED_FIRST),
        apply=tuple(sorted(to_apply, key=lambda manifest: (ORDER.index(manifest["kind"]), key(manifest)))),
        prune=tuple(
            sorted(
                (child for child in surplus if child["kind"] not in _PRUNED_FIRST),
                key=lambda child: (-ORDER.index(child["kind"]), key(child)),
            )
        ),
    )


def _differs(wanted: Manifest, observed: Manifest | None) -> bool:
    if observed is None:
        return True
    if observed["metadata"].get("deletionTimestamp"):
        return False  # on its way out: its deletion wakes us
    return observed["kind"] not in _WRITTEN_ONCE and drifted(wanted, observed)


def needs(manifest: Mapping[str, Any], refused: Set[Key]) -> bool:
    """Say whether the pods of a workload need something that was refused: with it they would wait without end."""
    spec = _pod_spec(manifest)
    needed = {("ServiceAccount", spec.get("serviceAccountName"))}
    for volume in spec.get("volumes", ()):
        needed.add(("ConfigMap", volume.get("configMap", {}).get("name")))
        needed.add(("PersistentVolumeClaim", volume.get("persistentVolumeClaim", {}).get("claimName")))
        needed.add(("Secret", volume.get("secret", {}).get("secretName")))
        for source in volume.get("projected", {}).get("sources", ()):
            needed.add(("Secret", source.get("secret", {}).get("name")))
    return bool(needed & refused)


def _pod_spec(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how the pods of a workload are; nothing for any other kind."""
    match manifest:
        case {"kind": "Deployment" | "Job", "spec": {"template": {"spec": Mapping() as found}}}:
            return found
        case {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": Mapping() as found}}}}}:
            return found
    return {}


def settings_in_use(children: Mapping[Key, Manifest], pods: Iterable[Mapping[str, Any]]) -> frozenset[Key]:
    """Return the ConfigMaps that a pod mounts or may still be started with; all of them in the middle of a rollout."""
    config_maps = frozenset(name for name in children if name[0] == "ConfigMap")
    deployments = [child for child in children.values() if child["kind"] == "Deployment"]
    if not all(workload.rolled_out(each) for each in deployments):
        return config_maps
    used: set[str] = set()
    for child in children.values():
        if child["kind"] != "Job" or workload.job_end(child) is None:
            used |= _mounted(_pod_spec(child))
    for pod in pods:
        if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            used |= _mounted(pod["spec"])
    return frozenset(("ConfigMap", name) for name in used) & config_maps


def _mounted(pod_spec: Mapping[str, Any]) -> set[str]:
    return {volume["configMap"]["name"] for volume in pod_spec.get("volumes", ()) if "configMap" in volume}
