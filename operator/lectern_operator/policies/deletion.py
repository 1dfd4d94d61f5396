"""How a KnowledgeBase goes: when it is held by our finalizer, and what its status says until it is let go.

Only what lies outside the cluster needs a finalizer. Children go with their owner reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lectern_contract.conditions import Truth, Verdict
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import CONDITIONS, ConditionType, Reason
from lectern_contract.resources.status import KnowledgeBaseStatus
from lectern_operator.policies import summary

DEADLINE_SECONDS = 600.0
"""How long a server that does not answer may hold a deletion before a person is asked to decide."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a deletion is: what it waits for (empty: nothing), and what cannot be done now (empty: nothing)."""

    waiting: str = ""
    failures: Sequence[str] = ()


def held(kb: KnowledgeBase) -> bool:
    """Say whether the deletion of `kb` has something to do outside: then our finalizer belongs on it."""
    messaging = kb.spec.messaging
    if messaging is not None and messaging.topic_management == "Strimzi":
        return True  # its KafkaTopics are children: with Retain they have to be cut loose before they go
    return kb.spec.deletion_policy == "Delete" and (messaging is not None or kb.spec.vector_store is not None)


def report(kb: KnowledgeBase, progress: Progress, *, now: datetime) -> KnowledgeBaseStatus:
    """Return the status of a knowledge base that is on its way out."""
    overdue = _seconds(kb, now) > DEADLINE_SECONDS and bool(progress.failures)
    cause = "; ".join(progress.failures) or progress.waiting or "its external state is being deleted"
    if overdue:
        cause += f"; to let the object go and leave that behind: lectern finalize kb {kb.name} -n {kb.namespace}"
    reason = Reason.DELETION_BLOCKED if progress.failures else Reason.DELETING

    def verdict(aspect: ConditionType, status: Truth) -> Verdict:
        return Verdict(aspect, status, reason, cause)

    first = {
        ConditionType.READY: verdict(ConditionType.READY, "False"),
        ConditionType.RECONCILING: verdict(ConditionType.RECONCILING, "False" if overdue else "True"),
        ConditionType.STALLED: verdict(ConditionType.STALLED, "True" if overdue else "False"),
    }
    before = kb.status.conditions
    verdicts = [
        first.get(aspect)
        or summary.standing(before, aspect)
        or Verdict(aspect, "Unknown", Reason.DELETING, "the resource is being deleted")
        for aspect in CONDITIONS["KnowledgeBase"]
    ]
    generation = kb.metadata.generation
    timestamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return kb.status.model_copy(
        update={
            "observed_generation": generation,
            "conditions": tuple(summary.carried(before, verdicts, generation=generation, now=timestamp)),
        }
    )


def _seconds(kb: KnowledgeBase, now: datetime) -> float:
    since = kb.metadata.deletion_timestamp
    return 0.0 if since is None else (now - datetime.fromisoformat(since)).total_seconds()
