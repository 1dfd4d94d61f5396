"""What must be refused is refused by the models, in a sentence that names the field."""

from __future__ import annotations

import pytest

from lectern_contract import resources
from lectern_contract.errors import ResourceInvalid
from lectern_runtime_tests.contract.wrong_documents import BASES, FORBIDDEN, WRONG, Forbidden, Wrong, document


@pytest.mark.parametrize("kind", BASES)
def test_the_base_of_the_table_is_accepted(kind: str) -> None:
    assert resources.parse(document(kind, {})).kind_name == kind


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.kind}-{wrong.name}")
def test_a_wrong_document_is_refused_by_the_model_and_the_field_is_named(wrong: Wrong) -> None:
    with pytest.raises(ResourceInvalid) as refusal:
        resources.parse(wrong.document())
    assert wrong.field in str(refusal.value)


@pytest.mark.parametrize("change", FORBIDDEN, ids=lambda change: f"{change.kind}-{change.name}")
def test_a_forbidden_change_is_refused_by_the_model_and_the_field_is_named(change: Forbidden) -> None:
    old, new = (resources.parse(document(change.kind, changes)) for changes in (change.before, change.after))
    with pytest.raises(ResourceInvalid) as refusal:
        resources.check_update(old, new)
    assert change.field in str(refusal.value)


def test_the_table_has_at_least_sixty_rows_and_each_has_a_name_of_its_own() -> None:
    assert len(WRONG) >= 60
    assert len({(wrong.kind, wrong.name) for wrong in WRONG}) == len(WRONG)
