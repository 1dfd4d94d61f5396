"""What the status of a push source says of its receiver: the Deployment that callers send documents to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lectern_contract import labels, names
from lectern_contract.conditions import Verdict
from lectern_contract.names import Role
from lectern_contract.resources import IngestionSource
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.resources.status import Component
from lectern_operator.policies import summary, workload
from lectern_operator.policies.changes import Key, Manifest


def verdict(
    source: IngestionSource,
    children: Mapping[Key, Manifest],
    pods: Iterable[Mapping[str, Any]],
    written: frozenset[Key],
) -> Verdict:
    """Judge the receiver; a source that is pulled needs none, and one that is suspended has none running."""
    aspect, name = ConditionType.RECEIVER_READY, names.child(source.name, Role.RECEIVER)
    if source.spec.push is None:
        return Verdict(aspect, "True", Reason.NOT_NEEDED, "documents are fetched: nobody sends them")
    if source.spec.suspend:
        message = f"spec.suspend is true: Deployment {name} has no pods, and callers are refused"
        return Verdict(aspect, "True", Reason.SUSPENDED, message)
    before = None
    if ("Deployment", name) not in written:
        before = summary.standing(source.status.conditions, aspect, generation=source.metadata.generation)
    receiving = [pod for pod in pods if pod["metadata"].get("labels", {}).get(labels.ROLE) == Role.RECEIVER.value]
    return workload.deployment(aspect, name, children.get(("Deployment", name)), receiving, before=before)


def url(source: IngestionSource, children: Mapping[Key, Manifest]) -> str | None:
    """Return where callers send documents; None where no Service is."""
    name = names.child(source.name, Role.RECEIVER)
    if ("Service", name) not in children:
        return None
    return names.service_url(name, source.namespace, names.RUNTIME_PORT)


def components(source: IngestionSource, judged: Verdict) -> tuple[Component, ...]:
    """Return the line of `status.components` for the receiver; none for a source that is pulled."""
    if source.spec.push is None:
        return ()
    return (workload.component(names.child(source.name, Role.RECEIVER), judged),)
