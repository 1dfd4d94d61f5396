"""Which endpoints of other namespaces name a KnowledgeBase, and whether it lets them: said on the side of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lectern_contract.conditions import Verdict
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import ConditionType, Reason

_LISTED = 5


def naming(kb: KnowledgeBase, endpoints: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the endpoints of other namespaces that name `kb`, as namespace/name; a spec that is none names nothing."""
    wanted = f"{kb.namespace}/{kb.name}"
    found = []
    for body in endpoints:
        metadata, spec = body["metadata"], body.get("spec") or {}
        references = spec.get("knowledgeBaseRefs") if isinstance(spec, Mapping) else None
        if metadata["namespace"] != kb.namespace and isinstance(references, list) and wanted in references:
            found.append(f"{metadata['namespace']}/{metadata['name']}")
    return sorted(found)


def verdict(kb: KnowledgeBase, endpoints: Iterable[Mapping[str, Any]]) -> Verdict:
    """Judge the endpoints of other namespaces that name `kb`."""
    aspect, asking = ConditionType.ENDPOINTS_ALLOWED, naming(kb, endpoints)
    refused = [each for each in asking if each.partition("/")[0] not in kb.spec.allowed_namespaces]
    if refused:
        more = f" and {len(refused) - _LISTED} more" if len(refused) > _LISTED else ""
        message = (
            f"RagEndpoint {', '.join(refused[:_LISTED])}{more} may not use this knowledge base: list the namespace in "
            "spec.allowedNamespaces, or remove the reference there"
        )
        return Verdict(aspect, "False", Reason.NAMESPACE_NOT_ALLOWED, message)
    told = f"{len(asking)} endpoints of other namespaces use it" if asking else "no endpoint of another namespace asks"
    return Verdict(aspect, "True", Reason.ENDPOINTS_AS_ALLOWED, told)
