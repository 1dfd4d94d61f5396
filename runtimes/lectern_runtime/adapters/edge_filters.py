"""Turns a `Scope` into filters of Qdrant's engine; every filter of the embedded store is made here.

Metadata is matched through one derived field, `metadata_terms`, that holds each entry as JSON. So one
keyword index serves fields of any name and type, and 1, "1" and true stay apart: the engine's Python binding
turns a boolean into an integer (seen with 0.9.0).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qdrant_edge import FieldCondition, Filter, HasIdCondition, MatchAny, MatchValue, RangeFloat

from lectern_contract.errors import ScopeDenied
from lectern_contract.ids import DocumentId
from lectern_contract.payload import Field, PayloadKind, metadata_term
from lectern_contract.scope import FieldFilter, Scope

if TYPE_CHECKING:
    from qdrant_edge import ConditionType

_METADATA_PREFIX = Field.metadata("")


def chunks_of_scope(scope: Scope) -> Filter:
    """All chunks that the scope may see: what every search is restricted to, and whose terms it weighs."""
    return Filter(must=[_kind(PayloadKind.CHUNK), *_scope(scope)])


def records_of_scope(scope: Scope) -> Filter:
    """All document records that the scope may see."""
    return Filter(must=[_kind(PayloadKind.RECORD), *_scope(scope)])


def records_of(scope: Scope, documents: Iterable[DocumentId]) -> Filter:
    """The records of these documents, as far as the scope may see them."""
    return Filter(must=[HasIdCondition(set(documents)), _kind(PayloadKind.RECORD), *_scope(scope)])


def records_by_id(scope: Scope, documents: Iterable[DocumentId]) -> Filter:
    """The records of these documents, as far as the scope's reader may see them: no record has filtered fields."""
    return records_of(scope.unfiltered, documents)


def chunks_of(scope: Scope, document: DocumentId) -> Filter:
    """The chunks of one document, if the scope may see them."""
    return Filter(must=[_document(document), _kind(PayloadKind.CHUNK), *_scope(scope)])


def older_chunks_of(scope: Scope, document: DocumentId, *, version: int) -> Filter:
    """The document's chunks of versions before `version`."""
    return Filter(must=[_document(document), _kind(PayloadKind.CHUNK), _before(version), *_scope(scope)])


def overwritable(scope: Scope, *, version: int) -> Filter:
    """Stored points that a write of `version` may replace: older ones, and none outside the scope."""
    return Filter(must=[_before(version), *_scope(scope)])


def points_of_kind(kind: PayloadKind) -> Filter:
    """All points of a kind, whoever may see them: for counts only."""
    return Filter(must=[_kind(kind)])


def _scope(scope: Scope) -> list[ConditionType]:
    return [_condition(each) for each in scope.must]


def _condition(each: FieldFilter) -> ConditionType:
    if each.field.startswith(_METADATA_PREFIX):
        name = each.field.removeprefix(_METADATA_PREFIX)
        return FieldCondition(
            Field.METADATA_TERMS, match=MatchAny([metadata_term(name, value) for value in each.values])
        )
    words = [value for value in each.values if isinstance(value, str)]
    if len(words) != len(each.values):
        raise ScopeDenied(f"the store matches the field {each.field!r} with words only")
    return FieldCondition(each.field, match=MatchAny(words))


def _kind(kind: PayloadKind) -> ConditionType:
    return FieldCondition(Field.KIND, match=MatchValue(kind.value))


def _document(document: DocumentId) -> ConditionType:
    return FieldCondition(Field.DOCUMENT_ID, match=MatchValue(document))


def _before(version: int) -> ConditionType:
    return FieldCondition(Field.VERSION, range=RangeFloat(lt=float(version)))  # exact: versions are below 2^53
