"""How KEDA scales the workers: a ScaledObject on the consumer lag, and its credentials where the broker wants any.

Called by `desired.knowledge_base` when KEDA is there and the number of workers may vary. Topic, group and offset
policy are the worker's own: with `latest` a topic without commits would never be scaled to zero, and messages
that came before the first commit would be lost.
"""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role, Topic
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.knowledge_base import Messaging, Workers
from lectern_operator.desired.metadata import Manifest, metadata, owner, sealed

API_VERSION = "keda.sh/v1alpha1"
FAILURES = 4
"""Answers in a row that the broker may fail to give before KEDA falls back."""
CALM_SECONDS = 60
"""How long a higher lag must last before a further worker starts: each one that comes or goes stops all the others for
the time that the partitions are dealt out anew."""
LONGEST_CALM_SECONDS = 3600
"""The most that an autoscaler of Kubernetes accepts."""
_SASL = {"PLAIN": "plaintext", "SCRAM-SHA-256": "scram_sha256", "SCRAM-SHA-512": "scram_sha512"}


def scaler(kb: KnowledgeBase, messaging: Messaging, *, generation: int) -> list[Manifest]:
    """Return the ScaledObject of the workers and, for a protected broker, its TriggerAuthentication."""
    of, workers = owner(kb), kb.spec.workers
    name = names.child(kb.name, Role.WORKER)
    authentication = _authentication(kb, messaging, name)
    trigger: Manifest = {"type": "kafka", "metadata": _trigger(kb, messaging, generation)}
    if authentication:
        trigger["authenticationRef"] = {"name": name}
    scaled = {
        "apiVersion": API_VERSION,
        "kind": "ScaledObject",
        "metadata": metadata(of, name, Role.WORKER),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicaCount": workers.min_replicas,
            "maxReplicaCount": workers.max_replicas,
            "pollingInterval": workers.polling_interval_seconds,
            "cooldownPeriod": workers.cooldown_seconds,
            "fallback": _fallback(workers),
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(workers)}},
            "triggers": [trigger],
        },
    }
    return [*authentication, sealed(scaled)]


def _fallback(workers: Workers) -> Manifest:
    """Say what runs while KEDA cannot read the lag: no worker fewer than now, and one at least, which goes on alone."""
    return {
        "failureThreshold": FAILURES,
        "replicas": max(1, workers.min_replicas),
        "behavior": "currentReplicasIfHigher",
    }


def _behavior(workers: Workers) -> Manifest:
    """Say how slowly the number changes between one and the most; the last step to zero is KEDA's cooldown."""
    calm = min(max(CALM_SECONDS, workers.cooldown_seconds), LONGEST_CALM_SECONDS)
    return {
        "scaleUp": {"stabilizationWindowSeconds": CALM_SECONDS},
        "scaleDown": {"stabilizationWindowSeconds": calm},
    }


def _trigger(kb: KnowledgeBase, messaging: Messaging, generation: int) -> dict[str, str]:
    workers = kb.spec.workers
    fields = {
        "bootstrapServers": messaging.bootstrap_servers,
        "consumerGroup": names.consumer_group(kb.namespace, kb.name, generation),
        "topic": names.topic(kb.namespace, kb.name, Topic.DOCUMENTS),
        "lagThreshold": str(workers.lag_threshold),
        "activationLagThreshold": str(workers.activation_lag_threshold),
        "offsetResetPolicy": "earliest",
        # a backlog in one partition keeps one worker busy, however long it is
        "limitToPartitionsWithLag": "true",
    }
    if messaging.security_protocol in ("SSL", "SASL_SSL"):
        fields["tls"] = "enable"
    if messaging.security_protocol.startswith("SASL"):
        assert messaging.sasl_mechanism is not None, "the model demands it"
        fields["sasl"] = _SASL[messaging.sasl_mechanism]
    return fields


def _authentication(kb: KnowledgeBase, messaging: Messaging, name: str) -> list[Manifest]:
    references = []
    if messaging.credentials_secret_ref is not None and messaging.security_protocol.startswith("SASL"):
        secret = messaging.credentials_secret_ref.name
        references += [{"parameter": key, "name": secret, "key": key} for key in ("username", "password")]
    if messaging.ca_secret_ref is not None and messaging.security_protocol in ("SSL", "SASL_SSL"):
        ca = messaging.ca_secret_ref
        references.append({"parameter": "ca", "name": ca.name, "key": ca.key})
    if not references:
        return []
    return [
        sealed(
            {
                "apiVersion": API_VERSION,
                "kind": "TriggerAuthentication",
                "metadata": metadata(owner(kb), name, Role.WORKER),
                "spec": {"secretTargetRef": references},
            }
        )
    ]
