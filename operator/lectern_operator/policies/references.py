"""Whether every Secret and ConfigMap that a resource names is there: pure, over what was read of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lectern_contract.conditions import Verdict
from lectern_contract.references import Reference
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.facts import Fact, Known
from lectern_operator.facts.outside import Content, Denied

Found = Mapping[tuple[str, str], Fact[Content | None]]
"""What was read, by kind and name."""
_LISTED = 3


def verdict(references: Sequence[Reference], found: Found) -> Verdict:
    """Judge all `references`: the missing ones first, then those that could not be read."""
    aspect = ConditionType.REFERENCES_FOUND
    missing = [(each, fault) for each in references if (fault := _fault(each, found))]
    if missing:
        secret = any(each.kind == "Secret" for each, _ in missing)
        reason = Reason.SECRET_MISSING if secret else Reason.CONFIG_MAP_MISSING
        return Verdict(aspect, "False", reason, _sentence([fault for _, fault in missing]))
    unread = [fact for each in references if not isinstance(fact := found[each.kind, each.name], Known)]
    denied = [fact for fact in unread if isinstance(fact, Denied)]
    if denied:
        namespace = references[0].namespace
        message = (
            f"the operator may not read what the spec names in namespace {namespace}: list it under "
            f"rbac.secretNamespaces of the chart, or check the Secrets yourself ({denied[0].reason})"
        )
        return Verdict(aspect, "Unknown", Reason.ACCESS_DENIED, message)
    if unread:
        return Verdict(aspect, "Unknown", Reason.UNKNOWN, unread[0].reason)
    count = len({(each.kind, each.name) for each in references})
    message = f"{count} Secrets and ConfigMaps have their keys" if count else "the spec names none"
    return Verdict(aspect, "True", Reason.REFERENCES_EXIST, message)


def _fault(reference: Reference, found: Found) -> str:
    """Say what is missing of `reference`; empty when it is there or could not be read."""
    fact = found[reference.kind, reference.name]
    if not isinstance(fact, Known):
        return ""
    what = f"{reference.kind} {reference.name}"
    if fact.value is None:
        return f"{what} does not exist ({reference.field})"
    lacking = [key for key in reference.keys if key not in fact.value.values]
    if lacking:
        return f"{what} has no key {', '.join(lacking)} ({reference.field})"
    empty = [key for key in reference.keys if not fact.value.values[key].strip()]
    if empty:
        return f"key {empty[0]} of {what} is empty ({reference.field})"
    return "" if fact.value.values else f"{what} is empty ({reference.field})"


def _sentence(faults: Sequence[str]) -> str:
    shown = sorted(set(faults))
    more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return f"{'; '.join(shown[:_LISTED])}{more}: create what is missing in the resource's namespace"
