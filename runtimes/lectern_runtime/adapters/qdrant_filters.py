"""Turns a `Scope` into filters of a Qdrant server; every filter of the store on a cluster is made here.

Metadata is matched through `Field.METADATA_TERMS`, so that values keep their types and every filtered field has the
index that strict mode asks for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

from qdrant_client import models

from lectern_contract.errors import ScopeDenied
from lectern_contract.ids import DocumentId
from lectern_contract.payload import Field, PayloadKind, metadata_term
from lectern_contract.scope import FieldFilter, Scope

Condition: TypeAlias = models.FieldCondition | models.HasIdCondition
_METADATA_PREFIX = Field.metadata("")


def chunks_of_scope(scope: Scope) -> models.Filter:
    """Return the filter for all chunks that the scope may see: of every search, and of whose terms it weighs."""
    return _all(_kind(PayloadKind.CHUNK), *_scope(scope))


def chunks_by_id(scope: Scope, ids: Sequence[str]) -> models.Filter:
    """Return the filter for those of these chunks that the scope may see."""
    return _all(models.HasIdCondition(has_id=list(ids)), _kind(PayloadKind.CHUNK), *_scope(scope))


def records_of_scope(scope: Scope) -> models.Filter:
    """Return the filter for all document records that the scope may see."""
    return _all(_kind(PayloadKind.RECORD), *_scope(scope))


def records_of(scope: Scope, documents: Collection[DocumentId]) -> models.Filter:
    """Return the filter for the records of these documents, as far as the scope may see them."""
    return _all(models.HasIdCondition(has_id=list(documents)), _kind(PayloadKind.RECORD), *_scope(scope))


def records_by_id(scope: Scope, documents: Collection[DocumentId]) -> models.Filter:
    """Return the filter for these documents' records that the scope's reader may see: they have no filtered fields."""
    return records_of(scope.unfiltered, documents)


def chunks_of(scope: Scope, document: DocumentId) -> models.Filter:
    """Return the filter for the chunks of one document, if the scope may see them."""
    return _all(_is(Field.DOCUMENT_ID, document), _kind(PayloadKind.CHUNK), *_scope(scope))


def older_chunks_of(scope: Scope, document: DocumentId, *, version: int) -> models.Filter:
    """Return the filter for the document's chunks of versions before `version`."""
    return _all(_is(Field.DOCUMENT_ID, document), _kind(PayloadKind.CHUNK), _before(version), *_scope(scope))


def overwritable(scope: Scope, *, version: int) -> models.Filter:
    """Return the filter for stored points that a write of `version` may replace: older ones of its own scope."""
    return _all(_before(version), *_scope(scope))


def points_of_kind(kind: PayloadKind) -> models.Filter:
    """Return the filter for all points of a kind, whoever may see them: for counts only."""
    return _all(_kind(kind))


def _all(*conditions: Condition) -> models.Filter:
    return models.Filter(must=list(conditions))


def _scope(scope: Scope) -> list[Condition]:
    return [_condition(each) for each in scope.must]


def _condition(each: FieldFilter) -> Condition:
    if each.field.startswith(_METADATA_PREFIX):
        name = each.field.removeprefix(_METADATA_PREFIX)
        terms = [metadata_term(name, value) for value in each.values]
        return models.FieldCondition(key=Field.METADATA_TERMS, match=models.MatchAny(any=terms))
    words = [value for value in each.values if isinstance(value, str)]
    if len(words) != len(each.values):
        raise ScopeDenied(f"the store matches the field {each.field!r} with words only")
    return models.FieldCondition(key=each.field, match=models.MatchAny(any=words))


def _kind(kind: PayloadKind) -> Condition:
    return _is(Field.KIND, kind.value)


def _is(field: str, value: str) -> Condition:
    return models.FieldCondition(key=field, match=models.MatchValue(value=value))


def _before(version: int) -> Condition:
    # Exact, though the server compares floating point: versions are below 2^53.
    return models.FieldCondition(key=Field.VERSION, range=models.Range(lt=float(version)))
