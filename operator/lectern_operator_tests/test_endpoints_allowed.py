"""Both sides say which endpoints of other namespaces may use a knowledge base."""

from __future__ import annotations

from typing import Any

from lectern_contract.resources.reasons import Reason
from lectern_operator.policies import endpoints_allowed
from lectern_operator_tests import worlds


def endpoint(namespace: str, *references: Any) -> dict[str, Any]:
    """Return the body of an endpoint."""
    return {"metadata": {"namespace": namespace, "name": "ask"}, "spec": {"knowledgeBaseRefs": list(references)}}


def test_an_endpoint_of_a_namespace_that_is_not_listed_is_named() -> None:
    kb = worlds.knowledge_base(allowedNamespaces=["sales"])
    found = endpoints_allowed.verdict(kb, [endpoint("sales", "team/docs"), endpoint("hr", "team/docs")])
    assert (found.status, found.reason) == ("False", Reason.NAMESPACE_NOT_ALLOWED)
    assert found.message.startswith("RagEndpoint hr/ask may not use this knowledge base")


def test_listed_namespaces_and_those_that_name_another_are_no_matter() -> None:
    kb = worlds.knowledge_base(allowedNamespaces=["sales"])
    others = [endpoint("sales", "team/docs"), endpoint("hr", "hr/docs", "docs"), endpoint("team", "docs")]
    found = endpoints_allowed.verdict(kb, others)
    assert (found.status, found.message) == ("True", "1 endpoints of other namespaces use it")


def test_a_spec_that_is_none_names_nothing() -> None:
    broken: list[dict[str, Any]] = [
        {"metadata": {"namespace": "hr", "name": "a"}},
        {"metadata": {"namespace": "hr", "name": "b"}, "spec": {"knowledgeBaseRefs": "team/docs"}},
    ]
    assert endpoints_allowed.verdict(worlds.knowledge_base(), broken).status == "True"
