"""How Kubernetes scales the query service: a HorizontalPodAutoscaler on the share of the requested CPU."""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources.rag_endpoint import Autoscaling
from lectern_operator.desired.metadata import Manifest, Owner, metadata, sealed

CALM_SECONDS = 300
"""How long a lower load must last before pods go."""


def query_scaling(of: Owner, autoscaling: Autoscaling) -> Manifest:
    """Return the autoscaler of the Deployment of the query service."""
    name = names.child(of.name, Role.QUERY)
    utilization = {"type": "Utilization", "averageUtilization": autoscaling.target_cpu_percent}
    return sealed(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": metadata(of, name, Role.QUERY),
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "minReplicas": autoscaling.min_replicas,
                "maxReplicas": autoscaling.max_replicas,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": CALM_SECONDS}},
            },
        }
    )
