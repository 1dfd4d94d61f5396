"""What is to be done for a KnowledgeBase, and what its status says: pure decisions over what was observed.

`plan` comes before anything is written, `report` after it; both are called by the reconciler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lectern_contract import labels, names, pending, settings, wiring
from lectern_contract.conditions import Verdict
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import CONDITIONS, ConditionType, Reason
from lectern_contract.resources.status import Component, Endpoint, KnowledgeBaseStatus
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.broker import Step as BrokerStep
from lectern_operator.facts.external import External
from lectern_operator.facts.vector_store import Step as StoreStep
from lectern_operator.policies import (
    collection,
    config_applied,
    documents,
    embedding,
    endpoints_allowed,
    generation,
    partitions,
    references,
    scaling,
    summary,
    topics,
    workload,
)
from lectern_operator.policies.changes import Key, Manifest
from lectern_operator.policies.config_applied import Asked

FIRST_GENERATION = 1
RETRY_SECONDS = 5.0
"""How soon a knowledge base that waits for something that tells no event looks again."""
SOON_SECONDS = 1.0
_SERVED = Known(value=True)
_AWAITED = frozenset({Reason.ACCESS_DENIED})


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is for one knowledge base, on the API server and outside.

    `keda`, `strimzi` and `monitoring` say whether the kinds ScaledObject, KafkaTopic and ServiceMonitor are served;
    `asked` are the running workers with what they have loaded, `endpoints` the RagEndpoints that name it. `written` are
    the children that this pass has changed, `paused` those that it was not to change.
    """

    children: Mapping[Key, Manifest]
    pods: tuple[Mapping[str, Any], ...]
    keda: Fact[bool]
    strimzi: Fact[bool] = _SERVED
    monitoring: Fact[bool] = _SERVED
    external: External = field(default_factory=External)
    asked: tuple[Asked, ...] = ()
    endpoints: tuple[Mapping[str, Any], ...] = ()
    written: frozenset[Key] = frozenset()
    paused: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made.

    `blocked` means that nothing is touched. `replicas` None leaves the number of workers to who sets it now; `scaled`
    asks for a ScaledObject, `monitored` for ServiceMonitors, `topics` for KafkaTopics, and children of the kinds in
    `keep` are not removed. `of_broker` and `of_store` are the steps outside, `more` says that others follow soon.
    """

    blocked: summary.Blocked | None
    generation: int
    replicas: int | None
    scaled: bool
    monitored: bool
    topics: bool
    keep: frozenset[str]
    of_broker: tuple[BrokerStep, ...] = ()
    of_store: tuple[StoreStep, ...] = ()
    more: bool = False


def plan(kb: KnowledgeBase, observed: Observed) -> Plan:
    """Decide what `kb` wants on this cluster now."""
    replicas, scaled, keep_scaler = _scaling(kb, observed.keda)
    external = observed.external
    blocked = _not_on_cluster(kb) or collection.unplaceable(kb) or generation.rebuilt(kb, external.store)
    number = generation.answering(kb, external.store)
    known = embedding.dimensions(kb, external.embedder)
    of_store = collection.plan(kb, generation=number, dimensions=known, store=external.store)
    keep = {"TriggerAuthentication", "ScaledObject"} if keep_scaler else set()
    keep |= {"ServiceMonitor"} if isinstance(observed.monitoring, Unknown) else set()
    keep |= {"KafkaTopic"} if topics.by_strimzi(kb) and observed.strimzi != _SERVED else set()
    return Plan(
        blocked=blocked,
        generation=number,
        replicas=replicas,
        scaled=scaled,
        monitored=observed.monitoring == _SERVED,
        topics=topics.by_strimzi(kb) and observed.strimzi == _SERVED,
        keep=frozenset(keep),
        of_broker=() if blocked else topics.plan(kb, broker=external.broker),
        of_store=() if blocked else of_store.steps,
        more=of_store.more,
    )


def report(
    kb: KnowledgeBase, observed: Observed, planned: Plan, *, refusals: tuple[str, ...], now: str
) -> KnowledgeBaseStatus:
    """Return the whole status after the pass; `now` is RFC 3339 in UTC."""
    found = {each.type: each for each in _verdicts(kb, observed, planned)}
    situation = summary.Situation(
        parts=tuple(found[aspect] for aspect in CONDITIONS[kb.kind_name] if aspect in found),
        advice=(endpoints_allowed.verdict(kb, observed.endpoints),),
        blocked=planned.blocked,
        refusals=refusals,
        unread=pending.unread(kb),
        paused=tuple(sorted(f"{kind} {name}" for kind, name in observed.paused)),
        awaited=_AWAITED,
    )
    if kb.spec.suspend:
        message = "spec.suspend is true: no document is indexed until it is false again"
        situation = replace(situation, ready_reason=Reason.SUSPENDED, ready_message=message)
    seen = kb.metadata.generation
    store = observed.external.store
    name = names.collection(kb.namespace, kb.name, planned.generation)
    told, count = partitions.states(kb, name=name, store=store)
    sources, source_count = documents.of_sources(kb.status, observed.external.by_source, now=now)
    exists = found[ConditionType.COLLECTION_READY].status == "True"
    return KnowledgeBaseStatus(
        observed_generation=seen,
        conditions=tuple(summary.carried(kb.status.conditions, summary.verdicts(situation), generation=seen, now=now)),
        active_generation=planned.generation if exists else kb.status.active_generation,
        index_identity=generation.identity(kb, store) or kb.status.index_identity,
        documents=observed.external.documents.value
        if isinstance(observed.external.documents, Known)
        else kb.status.documents,
        sources=sources,
        source_count=source_count,
        partitions=told,
        partition_count=count,
        endpoints=_endpoints(kb),
        components=_components(kb, found),
    )


def again_after(kb: KnowledgeBase, observed: Observed, planned: Plan, *, every: float) -> float | None:
    """Return after how many seconds to look again although no event may come; None for never.

    `every` is how often systems that tell no events are looked at.
    """
    if planned.blocked is not None and not wiring.missing_on_cluster(kb.spec):
        return every
    if planned.blocked is not None:
        return None
    if (planned.more or planned.of_store) and not observed.external.store_failures:
        return SOON_SECONDS
    waiting = (
        isinstance(observed.external.embedder, Unknown),
        not config_applied.settled(_config(kb, observed, planned)),
        references.verdict(observed.external.references, observed.external.contents).status != "True",
    )
    return min(RETRY_SECONDS, every) if any(waiting) else every


def _verdicts(kb: KnowledgeBase, observed: Observed, planned: Plan) -> tuple[Verdict, ...]:
    external = observed.external
    known = embedding.dimensions(kb, external.embedder)
    kafka_topics = {name: child for (kind, name), child in observed.children.items() if kind == topics.KIND}
    return (
        references.verdict(external.references, external.contents),
        embedding.verdict(kb, _embedder(kb, observed), external.embedder),
        topics.verdict(
            kb,
            broker=external.broker,
            strimzi=observed.strimzi,
            topics=kafka_topics,
            failures=external.broker_failures,
        ),
        collection.verdict(
            kb,
            generation=planned.generation,
            dimensions=known,
            store=external.store,
            failures=external.store_failures,
        ),
        _workers(kb, observed, planned),
        _scaler(kb, observed),
        _config(kb, observed, planned),
    )


def _config(kb: KnowledgeBase, observed: Observed, planned: Plan) -> Verdict:
    wanted = settings.config_hash(wiring.worker_settings(kb, generation=planned.generation))
    return config_applied.verdict({Role.WORKER.value: wanted}, observed.asked, observed.pods)


def _endpoints(kb: KnowledgeBase) -> tuple[Endpoint, ...]:
    server = kb.spec.embedding.server
    if server is None:
        return ()
    if server.external is not None:
        return (Endpoint(name=Role.EMBEDDER.value, url=server.external.url),)
    url = names.service_url(names.child(kb.name, Role.EMBEDDER), kb.namespace, names.EMBEDDER_PORT)
    return (Endpoint(name=Role.EMBEDDER.value, url=url),)


def _components(kb: KnowledgeBase, found: Mapping[ConditionType, Verdict]) -> tuple[Component, ...]:
    workers = workload.component(names.child(kb.name, Role.WORKER), found[ConditionType.WORKERS_READY])
    if not _managed(kb):
        return (workers,)
    return workload.component(names.child(kb.name, Role.EMBEDDER), found[ConditionType.EMBEDDING_READY]), workers


def unusable(name: str, fact: Fact[KnowledgeBase | None]) -> summary.Blocked | None:
    """Say why a source or an endpoint cannot work with the knowledge base `name`; None when it can."""
    match fact:
        case Unknown(reason):
            return summary.Blocked(Reason.INVALID_SPEC, reason, stalled=False)
        case Known(value=KnowledgeBase() as found):
            blocked = _not_on_cluster(found)
            if blocked is None:
                return None
            message = f"KnowledgeBase/{name} cannot be used: {blocked.message}"
            return summary.Blocked(blocked.reason, message, stalled=False)
        case Known():
            missing = f"KnowledgeBase/{name} does not exist in this namespace: create it, or name another"
            return summary.Blocked(Reason.KNOWLEDGE_BASE_MISSING, missing, stalled=False)


def _not_on_cluster(kb: KnowledgeBase) -> summary.Blocked | None:
    missing = wiring.missing_on_cluster(kb.spec)
    if not missing:
        return None
    message = f"set {', '.join(missing)}: on a cluster they cannot be left out (only `lectern up` runs without them)"
    return summary.Blocked(Reason.NOT_ON_CLUSTER, message, stalled=True)


def _scaling(kb: KnowledgeBase, keda: Fact[bool]) -> tuple[int | None, bool, bool]:
    """Return replicas, whether a ScaledObject is wanted, and whether an existing one must stay."""
    workers = kb.spec.workers
    if kb.spec.suspend:
        return 0, False, False
    if workers.min_replicas == workers.max_replicas:
        return workers.min_replicas, False, False
    match keda:
        case Unknown():
            return None, False, True
        case Known(value=True):
            return None, True, False
        case Known():
            return max(1, workers.min_replicas), False, False


def _managed(kb: KnowledgeBase) -> bool:
    server = kb.spec.embedding.server
    return server is not None and server.managed is not None


def _embedder(kb: KnowledgeBase, observed: Observed) -> Verdict | None:
    """Judge the Deployment of the embedding server; None where it is not ours."""
    return _deployment(kb, observed, ConditionType.EMBEDDING_READY, Role.EMBEDDER) if _managed(kb) else None


def _workers(kb: KnowledgeBase, observed: Observed, planned: Plan) -> Verdict:
    autoscaled = planned.replicas is None
    verdict = _deployment(kb, observed, ConditionType.WORKERS_READY, Role.WORKER, autoscaled=autoscaled)
    if kb.spec.suspend and verdict.status == "True":
        return Verdict(verdict.type, "True", Reason.SUSPENDED, "spec.suspend is true: no worker runs")
    return verdict


def _deployment(
    kb: KnowledgeBase, observed: Observed, aspect: ConditionType, role: Role, *, autoscaled: bool = False
) -> Verdict:
    name = names.child(kb.name, role)
    key = ("Deployment", name)
    standing = summary.standing(kb.status.conditions, aspect, generation=kb.metadata.generation)
    return workload.deployment(
        aspect,
        name,
        observed.children.get(key),
        _pods(observed, role),
        autoscaled=autoscaled,
        before=None if key in observed.written else standing,
    )


def _scaler(kb: KnowledgeBase, observed: Observed) -> Verdict:
    aspect, workers = ConditionType.SCALER_READY, kb.spec.workers
    if kb.spec.suspend:
        return Verdict(aspect, "True", Reason.SUSPENDED, "spec.suspend is true: nothing is scaled")
    if workers.min_replicas == workers.max_replicas:
        return Verdict(aspect, "True", Reason.SCALER_NOT_NEEDED, "workers.minReplicas equals workers.maxReplicas")
    running = max(1, workers.min_replicas)
    name = names.child(kb.name, Role.WORKER)
    return scaling.scaled_object(
        name,
        observed.children.get(("ScaledObject", name)),
        observed.keda,
        without="set workers.minReplicas equal to workers.maxReplicas; "
        f"meanwhile {running} of up to {workers.max_replicas} workers run",
    )


def _pods(observed: Observed, role: Role) -> list[Mapping[str, Any]]:
    return [pod for pod in observed.pods if pod["metadata"].get("labels", {}).get(labels.ROLE) == role.value]
