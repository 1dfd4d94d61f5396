"""What is to be done for a RagEndpoint, and what its status says: pure decisions over what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lectern_contract import labels, names, pending, query_wiring
from lectern_contract.conditions import Verdict
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase, RagEndpoint
from lectern_contract.resources.rag_endpoint import GenerationScaling, ModelServer, RerankerServer
from lectern_contract.resources.reasons import CONDITIONS, ConditionType, Reason
from lectern_contract.resources.status import Component, Endpoint, RagEndpointStatus
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import Denied
from lectern_operator.policies import knowledge_base, model_server, route, scaling, summary, workload
from lectern_operator.policies.changes import Key, Manifest

_SERVED = Known(value=True)


@dataclass(frozen=True, slots=True)
class Observed:
    """What the API server has for one endpoint; `knowledge_bases` by the names that the spec gives.

    `keda`, `gateway` and `monitoring` say whether the kinds ScaledObject, HTTPRoute and ServiceMonitor are served,
    `salted` whether the Secret for the language model exists. `written` are the children that this pass has changed.
    """

    children: Mapping[Key, Manifest]
    pods: tuple[Mapping[str, Any], ...]
    knowledge_bases: Mapping[str, Fact[KnowledgeBase | None]]
    keda: Fact[bool] = _SERVED
    gateway: Fact[bool] = _SERVED
    monitoring: Fact[bool] = _SERVED
    salted: Fact[bool] = _SERVED
    written: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made; `blocked` means that nothing is touched.

    `replicas` (of the query service) and `generators` (of the language model) None leave the number to an autoscaler.
    `scaled` asks for a ScaledObject, `routed` for what the exposure says, `monitored` for ServiceMonitors, `salt` for
    a Secret with new random bytes.
    """

    blocked: summary.Blocked | None
    knowledge_bases: Mapping[str, KnowledgeBase]
    replicas: int | None
    generators: int | None
    scaled: bool
    routed: bool
    monitored: bool
    salt: bool


def plan(endpoint: RagEndpoint, observed: Observed) -> Plan:
    """Decide what `endpoint` wants on this cluster now."""
    found = {
        name: fact.value
        for name, fact in observed.knowledge_bases.items()
        if isinstance(fact, Known) and fact.value is not None
    }
    generators, scaled = _generators(endpoint, observed.keda)
    return Plan(
        blocked=_blocked(endpoint, observed),
        knowledge_bases=found,
        replicas=_replicas(endpoint),
        generators=generators,
        scaled=scaled,
        routed=endpoint.spec.exposure.http_route is None or observed.gateway == _SERVED,
        monitored=observed.monitoring == _SERVED,
        salt=_managed_generation(endpoint) and observed.salted == Known(value=False),
    )


def report(
    endpoint: RagEndpoint,
    observed: Observed,
    planned: Plan,
    *,
    refusals: tuple[str, ...],
    now: str,
    further: tuple[Verdict, ...] = (),
    paused: tuple[str, ...] = (),
) -> RagEndpointStatus:
    """Return the whole status after the pass; `now` is RFC 3339 in UTC.

    `further` are verdicts on parts that others look after. What is shown, and in which order, is said by `CONDITIONS`.
    """
    generation, query = endpoint.metadata.generation, names.child(endpoint.name, Role.QUERY)
    found = {verdict.type: verdict for verdict in (*_verdicts(endpoint, observed, planned), *further)}
    situation = summary.Situation(
        parts=tuple(found[aspect] for aspect in CONDITIONS[RagEndpoint.kind_name] if aspect in found),
        blocked=planned.blocked,
        refusals=refusals,
        unread=pending.unread(endpoint),
        paused=paused,
        awaited=frozenset({Reason.ACCESS_DENIED}),
    )
    served = ("Service", query) in observed.children
    return RagEndpointStatus(
        observed_generation=generation,
        conditions=tuple(
            summary.carried(endpoint.status.conditions, summary.verdicts(situation), generation=generation, now=now)
        ),
        url=names.service_url(query, endpoint.namespace, names.RUNTIME_PORT) if served else None,
        endpoints=_endpoints(endpoint, observed, found[ConditionType.ROUTE_READY]),
        components=_components(endpoint, found),
    )


def _verdicts(endpoint: RagEndpoint, observed: Observed, planned: Plan) -> tuple[Verdict, ...]:
    return (
        _found(endpoint, planned),
        _generation(endpoint, observed, planned),
        _reranker(endpoint, observed),
        _query(endpoint, observed, planned),
        _scaler(endpoint, observed),
        route.verdict(endpoint, observed.children, observed.gateway),
    )


def again_after(endpoint: RagEndpoint, observed: Observed) -> float | None:
    """Return after how many seconds to look again although no event may come; None for never."""
    waits = (
        (_scaling(endpoint) is not None and observed.keda != _SERVED)
        or (endpoint.spec.exposure.http_route is not None and observed.gateway != _SERVED)
        or isinstance(observed.salted, Unknown)
        or any(isinstance(fact, Denied) for fact in observed.knowledge_bases.values())
    )
    return scaling.RETRY_SECONDS if waits else None


def not_allowed(endpoint: RagEndpoint, kb: KnowledgeBase) -> str | None:
    """Say why `endpoint` may not use `kb`, one of another namespace that does not list its own; None when it may."""
    if kb.namespace == endpoint.namespace or endpoint.namespace in kb.spec.allowed_namespaces:
        return None
    return _refusal(endpoint, f"{kb.namespace}/{kb.name}")


def _refusal(endpoint: RagEndpoint, reference: str) -> str:
    """Word the refusal for one that exists and for one that does not alike: it tells nothing of other namespaces."""
    return (
        f"KnowledgeBase {reference} does not exist, or its spec.allowedNamespaces does not list {endpoint.namespace}: "
        "have it listed there, or remove the reference"
    )


def _blocked(endpoint: RagEndpoint, observed: Observed) -> summary.Blocked | None:
    """Return the first thing that is wrong with a knowledge base, in the order of the spec, or with the rest of it."""
    seen: set[tuple[str, str]] = set()
    for reference in endpoint.spec.knowledge_base_refs:
        named = names.referred(reference, endpoint.namespace)
        if named in seen:
            message = f"spec.knowledgeBaseRefs names {'/'.join(named)} twice: remove one of both"
            return summary.Blocked(Reason.INVALID_SPEC, message, stalled=True)
        seen.add(named)
        if (unusable := _unusable(endpoint, reference, observed.knowledge_bases[reference])) is not None:
            return unusable
    if (lacking := query_wiring.lacking_on_cluster(endpoint.spec)) is not None:
        return summary.Blocked(Reason.NOT_ON_CLUSTER, lacking, stalled=True)
    return None


def _unusable(endpoint: RagEndpoint, reference: str, fact: Fact[KnowledgeBase | None]) -> summary.Blocked | None:
    match fact:
        case Denied(reason=reason):
            return summary.Blocked(Reason.ACCESS_DENIED, reason, stalled=False)
        case Known(value=KnowledgeBase() as kb) if (refusal := not_allowed(endpoint, kb)) is not None:
            return summary.Blocked(Reason.NAMESPACE_NOT_ALLOWED, refusal, stalled=False)
        case Known(value=None) if names.referred(reference, endpoint.namespace)[0] != endpoint.namespace:
            return summary.Blocked(Reason.NAMESPACE_NOT_ALLOWED, _refusal(endpoint, reference), stalled=False)
        case _:
            return knowledge_base.unusable(reference, fact)


def _found(endpoint: RagEndpoint, planned: Plan) -> Verdict:
    aspect = ConditionType.KNOWLEDGE_BASE_FOUND
    if planned.blocked is not None:
        return Verdict(aspect, "False", planned.blocked.reason, planned.blocked.message)
    named = ", ".join(f"KnowledgeBase/{name}" for name in endpoint.spec.knowledge_base_refs)
    return Verdict(aspect, "True", Reason.KNOWLEDGE_BASE_EXISTS, f"{named} can be used")


def _replicas(endpoint: RagEndpoint) -> int | None:
    if endpoint.spec.autoscaling is not None:
        return None
    return 1 if endpoint.spec.replicas is None else endpoint.spec.replicas


def _generators(endpoint: RagEndpoint, keda: Fact[bool]) -> tuple[int | None, bool]:
    """Return the replicas of the language model, and whether a ScaledObject is wanted."""
    generation, wanted = endpoint.spec.generation, _scaling(endpoint)
    if generation is None or generation.server.managed is None:
        return None, False
    if wanted is None:
        fixed = generation.server.managed.replicas
        return (fixed if generation.scaling is None else generation.scaling.min_replicas), False
    match keda:
        case Unknown():
            return None, False
        case Known(value=True):
            return None, True
        case Known():
            return max(1, wanted.min_replicas), False


def _scaling(endpoint: RagEndpoint) -> GenerationScaling | None:
    """Return how the language model scales; None where its number of replicas is fixed."""
    generation = endpoint.spec.generation
    wanted = generation.scaling if generation is not None else None
    return wanted if wanted is not None and wanted.min_replicas != wanted.max_replicas else None


def _managed_generation(endpoint: RagEndpoint) -> bool:
    generation = endpoint.spec.generation
    return generation is not None and generation.server.managed is not None


def _query(endpoint: RagEndpoint, observed: Observed, planned: Plan) -> Verdict:
    name = names.child(endpoint.name, Role.QUERY)
    return workload.deployment(
        ConditionType.QUERY_READY,
        name,
        observed.children.get(("Deployment", name)),
        _pods(observed, Role.QUERY),
        autoscaled=planned.replicas is None,
        before=_before(endpoint, observed, ConditionType.QUERY_READY, name),
    )


def _generation(endpoint: RagEndpoint, observed: Observed, planned: Plan) -> Verdict:
    aspect, generation = ConditionType.GENERATION_READY, endpoint.spec.generation
    without = "the spec names no language model: answers are made of the passages' own sentences"
    server = generation.server if generation is not None else None
    verdict = _model_server(
        endpoint, observed, aspect, Role.GENERATOR, server, without, autoscaled=planned.generators is None
    )
    if _managed_generation(endpoint) and isinstance(observed.salted, Unknown) and verdict.status == "True":
        # prompts of tenants would share one cache
        reason = Reason.ACCESS_DENIED if isinstance(observed.salted, Denied) else Reason.UNKNOWN
        return Verdict(aspect, "Unknown", reason, observed.salted.reason)
    return verdict


def _reranker(endpoint: RagEndpoint, observed: Observed) -> Verdict:
    reranker = endpoint.spec.reranker
    without = "the spec names no reranker: passages stay in their fused order"
    server = reranker.server if reranker is not None else None
    return _model_server(endpoint, observed, ConditionType.RERANKER_READY, Role.RERANKER, server, without)


def _model_server(
    endpoint: RagEndpoint,
    observed: Observed,
    aspect: ConditionType,
    role: Role,
    server: ModelServer | RerankerServer | None,
    without: str,
    *,
    autoscaled: bool = False,
) -> Verdict:
    if (elsewhere := model_server.unmanaged(aspect, server, without=without)) is not None:
        return elsewhere
    name = names.child(endpoint.name, role)
    return model_server.managed(
        aspect,
        name,
        observed.children.get(("Deployment", name)),
        _pods(observed, role),
        autoscaled=autoscaled,
        before=_before(endpoint, observed, aspect, name),
    )


def _scaler(endpoint: RagEndpoint, observed: Observed) -> Verdict:
    found = []
    if endpoint.spec.autoscaling is not None:
        name = names.child(endpoint.name, Role.QUERY)
        found.append(scaling.autoscaler(name, observed.children.get(("HorizontalPodAutoscaler", name))))
    if (wanted := _scaling(endpoint)) is not None:
        name, running = names.child(endpoint.name, Role.GENERATOR), max(1, wanted.min_replicas)
        without = f"remove generation.scaling; meanwhile {running} of up to {wanted.max_replicas} model servers run"
        child = observed.children.get(("ScaledObject", name))
        found.append(scaling.scaled_object(name, child, observed.keda, without=without))
    return scaling.together(found)


def _endpoints(endpoint: RagEndpoint, observed: Observed, routed: Verdict) -> tuple[Endpoint, ...]:
    """Return where the API and the model servers answer; a way in from outside once it works."""
    found = []
    generation, reranker = endpoint.spec.generation, endpoint.spec.reranker
    for role, port, server in (
        (Role.QUERY, names.RUNTIME_PORT, None),
        (Role.GENERATOR, names.EMBEDDER_PORT, generation.server if generation else None),
        (Role.RERANKER, names.EMBEDDER_PORT, reranker.server if reranker else None),
    ):
        name = names.child(endpoint.name, role)
        if server is not None and server.external is not None:
            found.append(Endpoint(name=role.value, url=server.external.url))
        elif ("Service", name) in observed.children:
            found.append(Endpoint(name=role.value, url=names.service_url(name, endpoint.namespace, port)))
    return (*found, *(route.addresses(endpoint) if routed.status == "True" else ()))


def _components(endpoint: RagEndpoint, found: Mapping[ConditionType, Verdict]) -> tuple[Component, ...]:
    generation, reranker = endpoint.spec.generation, endpoint.spec.reranker
    wanted = [(Role.QUERY, ConditionType.QUERY_READY)]
    if generation is not None and generation.server.managed is not None:
        wanted.append((Role.GENERATOR, ConditionType.GENERATION_READY))
    if reranker is not None and reranker.server.managed is not None:
        wanted.append((Role.RERANKER, ConditionType.RERANKER_READY))
    return tuple(workload.component(names.child(endpoint.name, role), found[aspect]) for role, aspect in wanted)


def _before(endpoint: RagEndpoint, observed: Observed, aspect: ConditionType, name: str) -> Verdict | None:
    """Return what the status says of a Deployment that this pass did not touch."""
    if ("Deployment", name) in observed.written:
        return None
    return summary.standing(endpoint.status.conditions, aspect, generation=endpoint.metadata.generation)


def _pods(observed: Observed, role: Role) -> list[Mapping[str, Any]]:
    return [pod for pod in observed.pods if pod["metadata"].get("labels", {}).get(labels.ROLE) == role.value]
