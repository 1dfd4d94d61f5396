"""What is to be done for a KnowledgeBase, and what its status says: pure decisions over what was observed.

`plan` comes before anything is written, `report` after it; both are called by the reconciler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lectern_contract import labels, names, pending, wiring
from lectern_contract.conditions import Verdict
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.resources.status import KnowledgeBaseStatus
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import summary, workload
from lectern_operator.policies.changes import Key, Manifest

FIRST_GENERATION = 1
KEDA_RETRY_SECONDS = 10.0
"""How soon a knowledge base that waits for KEDA looks again: no event tells that a kind was installed."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the API server has for one knowledge base; `keda` says whether the kind ScaledObject is served.

    `written` are the children that this pass has changed.
    """

    children: Mapping[Key, Manifest]
    pods: tuple[Mapping[str, Any], ...]
    keda: Fact[bool]
    written: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made.

    `blocked` means that nothing is touched. `replicas` None leaves the number of workers to who sets it now;
    `scaled` asks for a ScaledObject, and `keep_scaler` forbids to remove one.
    """

    blocked: summary.Blocked | None
    generation: int
    replicas: int | None
    scaled: bool
    keep_scaler: bool


def plan(kb: KnowledgeBase, observed: Observed) -> Plan:
    """Decide what `kb` wants on this cluster now."""
    replicas, scaled, keep_scaler = _scaling(kb, observed.keda)
    return Plan(
        blocked=_not_on_cluster(kb),
        generation=kb.status.active_generation or FIRST_GENERATION,
        replicas=replicas,
        scaled=scaled,
        keep_scaler=keep_scaler,
    )


def report(
    kb: KnowledgeBase, observed: Observed, planned: Plan, *, refusals: tuple[str, ...], now: str
) -> KnowledgeBaseStatus:
    """Return the whole status after the pass; `now` is RFC 3339 in UTC."""
    embedding, workers, scaler = _embedding(kb, observed), _workers(kb, observed, planned), _scaler(kb, observed)
    situation = summary.Situation(
        parts=(embedding, workers, scaler),
        blocked=planned.blocked,
        refusals=refusals,
        unread=pending.unread(kb),
    )
    if kb.spec.suspend:
        message = "spec.suspend is true: no document is indexed until it is false again"
        situation = replace(situation, ready_reason=Reason.SUSPENDED, ready_message=message)
    generation = kb.metadata.generation
    verdicts = summary.verdicts(situation)
    components = [workload.component(names.child(kb.name, Role.WORKER), workers)]
    if _managed(kb):
        components.insert(0, workload.component(names.child(kb.name, Role.EMBEDDER), embedding))
    return KnowledgeBaseStatus(
        observed_generation=generation,
        conditions=tuple(summary.carried(kb.status.conditions, verdicts, generation=generation, now=now)),
        active_generation=kb.status.active_generation,
        documents=kb.status.documents,
        components=tuple(components),
    )


def again_after(kb: KnowledgeBase, observed: Observed) -> float | None:
    """Return after how many seconds to look again although no event may come; None for never."""
    wants_scaler = not kb.spec.suspend and kb.spec.workers.min_replicas != kb.spec.workers.max_replicas
    return KEDA_RETRY_SECONDS if wants_scaler and observed.keda != Known(value=True) else None


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


def _embedding(kb: KnowledgeBase, observed: Observed) -> Verdict:
    aspect, server = ConditionType.EMBEDDING_READY, kb.spec.embedding.server
    if server is None:
        return Verdict(aspect, "Unknown", Reason.NOT_ON_CLUSTER, "spec.embedding.server is not set")
    if server.external is not None:
        return Verdict(aspect, "True", Reason.EXTERNAL_SERVER, f"{server.external.url} is used and not managed here")
    return _deployment(kb, observed, aspect, Role.EMBEDDER)


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
    match observed.keda:
        case Unknown(reason):
            return Verdict(aspect, "Unknown", Reason.UNKNOWN, reason)
        case Known(value=False):
            running = max(1, workers.min_replicas)
            return Verdict(
                aspect,
                "False",
                Reason.KEDA_NOT_INSTALLED,
                "the kind ScaledObject does not exist: install KEDA, or set workers.minReplicas equal to "
                f"workers.maxReplicas; meanwhile {running} of up to {workers.max_replicas} workers run",
            )
        case Known():
            return _scaled_object(aspect, names.child(kb.name, Role.WORKER), observed)


def _scaled_object(aspect: ConditionType, name: str, observed: Observed) -> Verdict:
    found = observed.children.get(("ScaledObject", name))
    ready = workload.condition(found, "Ready") if found is not None else {}
    match ready.get("status"):
        case "True":
            return Verdict(aspect, "True", Reason.SCALER_ACTIVE, f"KEDA accepted ScaledObject {name}")
        case "False":
            said = ready.get("message") or ready.get("reason", "")
            return Verdict(aspect, "False", Reason.SCALER_REJECTED, f"KEDA on ScaledObject {name}: {said}")
        case _:
            return Verdict(aspect, "Unknown", Reason.PROGRESSING, f"KEDA has not judged ScaledObject {name} yet")


def _pods(observed: Observed, role: Role) -> list[Mapping[str, Any]]:
    return [pod for pod in observed.pods if pod["metadata"].get("labels", {}).get(labels.ROLE) == role.value]
