"""How KEDA scales the language model of a RagEndpoint: a ScaledObject on what Prometheus knows of it.

A model server of no replicas tells nothing, so it cannot wake itself. What starts the first replica, and keeps the last
one, is `PENDING`, the number of questions that the query service has under way to the model; what starts further
ones is the queue of the servers themselves. `namespace` and `service` are labels that the Prometheus operator puts on
every series that it scrapes through our ServiceMonitors.
"""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources.rag_endpoint import GenerationScaling
from lectern_operator.desired.metadata import Manifest, Owner, metadata, sealed

API_VERSION = "keda.sh/v1alpha1"
PENDING = "rag_llm_pending"
"""Gauge of the query runtime: questions that wait for the language model or that it is answering."""
RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
POLLING_SECONDS = 15
"""How often the first question after a rest is looked for: part of the time that it waits."""
CALM_SECONDS = 300
"""How long a lower load must last before a replica goes: each costs minutes to load again."""
FAILURES = 4
"""Answers in a row that Prometheus may fail to give before KEDA falls back; with a fallback it takes no replica away
for want of an answer, and starts none from zero either."""


def generator_scaling(of: Owner, scaling: GenerationScaling) -> Manifest:
    """Return the ScaledObject of the language model's Deployment."""
    name = names.child(of.name, Role.GENERATOR)
    return sealed(
        {
            "apiVersion": API_VERSION,
            "kind": "ScaledObject",
            "metadata": metadata(of, name, Role.GENERATOR),
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "minReplicaCount": scaling.min_replicas,
                "maxReplicaCount": scaling.max_replicas,
                "pollingInterval": POLLING_SECONDS,
                "cooldownPeriod": scaling.cooldown_seconds,
                "fallback": {
                    "failureThreshold": FAILURES,
                    "replicas": max(1, scaling.min_replicas),
                    "behavior": "currentReplicasIfHigher",
                },
                "advanced": {
                    "horizontalPodAutoscalerConfig": {
                        "behavior": {"scaleDown": {"stabilizationWindowSeconds": CALM_SECONDS}}
                    }
                },
                "triggers": [
                    _trigger("activity", scaling, activity(of), threshold=1),
                    _trigger("queue", scaling, queue(of), threshold=scaling.waiting_requests),
                ],
            },
        }
    )


def activity(of: Owner) -> str:
    """Return the query for whether anybody needs the model now: 1 or 0, so that it never asks for a second replica."""
    pending = f"sum({PENDING}{_of(of, Role.QUERY)})"
    running = f"sum({RUNNING}{_of(of, Role.GENERATOR)})"
    return f"clamp_max(({pending} or vector(0)) + ({running} or vector(0)), 1)"


def queue(of: Owner) -> str:
    """Return the query for the requests that wait in all servers together; servers of no replicas have none."""
    return f"sum({WAITING}{_of(of, Role.GENERATOR)}) or vector(0)"


def _of(of: Owner, role: Role) -> str:
    return f'{{namespace="{of.namespace}",service="{names.child(of.name, role)}"}}'


def _trigger(name: str, scaling: GenerationScaling, query: str, *, threshold: int) -> Manifest:
    return {
        "type": "prometheus",
        "name": name,
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": scaling.prometheus_url,
            "query": query,
            "threshold": str(threshold),
            "activationThreshold": "0",
            "ignoreNullValues": "false",
        },
    }
