"""Where each kind that the operator reads or writes lies on the API server.

A table instead of discovery: the kinds are known; discovery (`clients.discovery`) only tells which of them are served.
"""

from __future__ import annotations

from dataclasses import dataclass

from lectern_contract import resources


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: its API version, and its name in URLs.

    `optional` where another project brings it. Not `watched`: it is read one by one, by name, because the right to list
    it would be too much.
    """

    api_version: str
    name: str
    plural: str
    optional: bool = False
    watched: bool = True

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the URL path of the list, of one object or of its subresource."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(part for part in (f"{root}{scope}/{self.plural}", name, subresource) if part)


OWNERS = {name: Kind(resources.API_VERSION, name, model.plural) for name, model in resources.KINDS.items()}
"""Lectern's own kinds."""

CHILDREN = {
    kind.name: kind
    for kind in (
        Kind("apps/v1", "Deployment", "deployments"),
        Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
        Kind("batch/v1", "CronJob", "cronjobs"),
        Kind("batch/v1", "Job", "jobs"),
        Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", optional=True),
        Kind("kafka.strimzi.io/v1", "KafkaTopic", "kafkatopics", optional=True),
        Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects", optional=True),
        Kind("keda.sh/v1alpha1", "TriggerAuthentication", "triggerauthentications", optional=True),
        Kind("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors", optional=True),
        Kind("networking.k8s.io/v1", "Ingress", "ingresses"),
        Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
        Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
        Kind("v1", "ConfigMap", "configmaps"),
        Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        Kind("v1", "Pod", "pods"),
        Kind("v1", "Secret", "secrets", watched=False),
        Kind("v1", "Service", "services"),
        Kind("v1", "ServiceAccount", "serviceaccounts"),
    )
}
"""What carries the label of an owner; pods are read only."""

OWN = {
    kind.name: kind
    for kind in (
        Kind("coordination.k8s.io/v1", "Lease", "leases"),
        Kind("events.k8s.io/v1", "Event", "events"),
    )
}
"""What the operator writes for itself and watches nothing of."""

ALL = OWNERS | CHILDREN | OWN
