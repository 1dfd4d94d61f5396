"""What the models refuse, the real API server refuses as well, with a message that names the field.

The table is that of the unit tests (`lectern_runtime_tests.contract.wrong_documents`).
"""

from __future__ import annotations

import pytest

from e2e.api_tests.api import Api
from lectern_contract import resources
from lectern_contract.errors import ResourceInvalid
from lectern_runtime_tests.contract.wrong_documents import BASES, FORBIDDEN, WRONG, Forbidden, Wrong, document


@pytest.mark.parametrize("kind", BASES)
def test_the_base_of_the_table_is_accepted(kind: str, api: Api) -> None:
    answer = api.try_out(document(kind, {}))
    assert answer.accepted, answer.message


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.kind}-{wrong.name}")
def test_a_wrong_document_is_refused_and_the_field_is_named(wrong: Wrong, api: Api) -> None:
    answer = api.try_out(wrong.document())
    assert answer.status in (400, 422), f"accepted, or another failure: {answer}"
    assert wrong.field in answer.message


@pytest.mark.parametrize("change", FORBIDDEN, ids=lambda change: f"{change.kind}-{change.name}")
def test_a_forbidden_change_is_refused_and_the_field_is_named(change: Forbidden, api: Api) -> None:
    before, after = (document(change.kind, changes, name="changing") for changes in (change.before, change.after))
    stored = api.create(before)
    assert stored.accepted, stored.message
    try:
        after["metadata"]["resourceVersion"] = stored.body["metadata"]["resourceVersion"]
        answer = api.try_update(after)
    finally:
        assert api.delete(before).accepted
    assert answer.status == 422, f"accepted, or another failure: {answer}"
    assert change.field in answer.message


def test_a_change_of_anything_else_is_accepted(api: Api) -> None:
    before = document("KnowledgeBase", {}, name="changing")
    after = document(
        "KnowledgeBase", {"spec.embedding.model": "e5", "spec.messaging.replicationFactor": 3}, name="changing"
    )
    stored = api.create(before)
    try:
        after["metadata"]["resourceVersion"] = stored.body["metadata"]["resourceVersion"]
        answer = api.try_update(after)
    finally:
        assert api.delete(before).accepted
    assert answer.accepted, answer.message
    resources.check_update(resources.parse(before), resources.parse(after))


def test_whole_floats_are_stored_as_integers_and_refused_by_the_model_with_a_sentence(api: Api) -> None:
    """The one known difference: 60.0 for an integer.

    The server stores it as 60 (or refuses it, where a rule reads the field), so that the models never meet it
    from there. In a file, `lectern up` asks for an integer: the stricter answer, and always the same one.
    """
    plain = document("KnowledgeBase", {"spec.parsing": {"timeoutSeconds": 60.0}})
    ruled = document("KnowledgeBase", {"spec.chunking": {"size": 100.0}})
    answer = api.try_out(plain)
    assert answer.accepted
    stored = answer.body["spec"]["parsing"]["timeoutSeconds"]
    assert (stored, type(stored)) == (60, int)
    assert "expected int" in api.try_out(ruled).message
    for wrong, field in ((plain, "spec.parsing.timeoutSeconds"), (ruled, "spec.chunking.size")):
        with pytest.raises(ResourceInvalid, match=f"{field}: Input should be a valid integer"):
            resources.parse(wrong)
