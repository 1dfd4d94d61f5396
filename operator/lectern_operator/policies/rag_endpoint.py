"""What is to be done for a RagEndpoint, and what its status says: pure decisions over what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lectern_contract import names, pending
from lectern_contract.conditions import Verdict
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase, RagEndpoint
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.resources.status import RagEndpointStatus
from lectern_operator.facts import Fact, Known
from lectern_operator.policies import knowledge_base, summary, workload
from lectern_operator.policies.changes import Key, Manifest


@dataclass(frozen=True, slots=True)
class Observed:
    """What the API server has for one endpoint; `knowledge_bases` by the names that the spec gives.

    `written` are the children that this pass has changed.
    """

    children: Mapping[Key, Manifest]
    pods: tuple[Mapping[str, Any], ...]
    knowledge_bases: Mapping[str, Fact[KnowledgeBase | None]]
    written: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made; `blocked` means that nothing is touched."""

    blocked: summary.Blocked | None
    knowledge_bases: Mapping[str, KnowledgeBase]
    replicas: int


def plan(endpoint: RagEndpoint, observed: Observed) -> Plan:
    """Decide what `endpoint` wants on this cluster now."""
    found = {
        name: fact.value
        for name, fact in observed.knowledge_bases.items()
        if isinstance(fact, Known) and fact.value is not None
    }
    replicas = 1 if endpoint.spec.replicas is None else endpoint.spec.replicas
    return Plan(_blocked(endpoint, observed), found, replicas)


def report(
    endpoint: RagEndpoint, observed: Observed, planned: Plan, *, refusals: tuple[str, ...], now: str
) -> RagEndpointStatus:
    """Return the whole status after the pass; `now` is RFC 3339 in UTC."""
    name = names.child(endpoint.name, Role.QUERY)
    key, generation = ("Deployment", name), endpoint.metadata.generation
    standing = summary.standing(endpoint.status.conditions, ConditionType.QUERY_READY, generation=generation)
    query = workload.deployment(
        ConditionType.QUERY_READY,
        name,
        observed.children.get(key),
        observed.pods,
        before=None if key in observed.written else standing,
    )
    situation = summary.Situation(
        parts=(_found(endpoint, planned), query),
        blocked=planned.blocked,
        refusals=refusals,
        unread=pending.unread(endpoint),
    )
    served = ("Service", name) in observed.children
    return RagEndpointStatus(
        observed_generation=generation,
        conditions=tuple(
            summary.carried(endpoint.status.conditions, summary.verdicts(situation), generation=generation, now=now)
        ),
        url=names.service_url(name, endpoint.namespace, names.RUNTIME_PORT) if served else None,
        components=(workload.component(name, query),),
    )


def _blocked(endpoint: RagEndpoint, observed: Observed) -> summary.Blocked | None:
    """Return the first thing that is wrong with a knowledge base, in the order of the spec."""
    for name in endpoint.spec.knowledge_base_refs:
        if (unusable := knowledge_base.unusable(name, observed.knowledge_bases[name])) is not None:
            return unusable
    return None


def _found(endpoint: RagEndpoint, planned: Plan) -> Verdict:
    aspect = ConditionType.KNOWLEDGE_BASE_FOUND
    if planned.blocked is not None:
        return Verdict(aspect, "False", planned.blocked.reason, planned.blocked.message)
    named = ", ".join(f"KnowledgeBase/{name}" for name in endpoint.spec.knowledge_base_refs)
    return Verdict(aspect, "True", Reason.KNOWLEDGE_BASE_EXISTS, f"{named} can be used")
