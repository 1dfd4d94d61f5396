"""Payload indexes: the request's schema as the server shows it, and the same as an operation of the engine.

`administration` makes them, `shards` builds them in each shard, `strict_mode` asks which fields have one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from qdrant_client.http import models
from qdrant_edge import (
    BoolIndexParams,
    DatetimeIndexParams,
    FloatIndexParams,
    GeoIndexParams,
    IntegerIndexParams,
    KeywordIndexParams,
    TextIndexParams,
    TokenizerType,
    UpdateOperation,
    UuidIndexParams,
)

from e2e.testbed.qdrant_double.refusals import bad_request, unsupported

# What changes answers; the rest (memory, HNSW links) is stored and shown only.
_ENGINE_FIELDS: Mapping[str, tuple[Callable[..., Any], frozenset[str]]] = {
    "keyword": (KeywordIndexParams, frozenset({"is_tenant", "prefix", "nested"})),
    "integer": (IntegerIndexParams, frozenset({"lookup", "range", "is_principal", "nested"})),
    "float": (FloatIndexParams, frozenset({"is_principal", "nested"})),
    "geo": (GeoIndexParams, frozenset({"nested"})),
    "bool": (BoolIndexParams, frozenset({"nested"})),
    "datetime": (DatetimeIndexParams, frozenset({"is_principal", "nested"})),
    "uuid": (UuidIndexParams, frozenset({"is_tenant", "nested"})),
    "text": (
        TextIndexParams,
        frozenset({"tokenizer", "min_token_len", "max_token_len", "lowercase", "ascii_folding", "phrase_matching"}),
    ),
}
_SHOWN_ONLY = frozenset({"type", "on_disk", "memory", "enable_hnsw"})


def index(request: models.CreateFieldIndex) -> dict[str, Any]:
    """The index as `payload_schema` shows it, without its count of points."""
    schema = request.field_schema
    if schema is None:
        raise bad_request("cannot automatically determine the field_schema; name one")
    if not isinstance(schema, BaseModel):
        return {"data_type": schema.value}
    params: dict[str, Any] = schema.model_dump(mode="json", exclude_none=True)
    return {"data_type": params["type"], "params": params}


def creation(field: str, wanted: Mapping[str, Any]) -> UpdateOperation:
    """The engine's operation that builds the index; raises Refused (501) for settings that the double lacks."""
    build, known = _ENGINE_FIELDS[wanted["data_type"]]
    params = dict(wanted.get("params", {}))
    strange = params.keys() - known - _SHOWN_ONLY
    if strange:
        raise unsupported(f"the {wanted['data_type']} index setting {sorted(strange)[0]!r}")
    chosen = {name: value for name, value in params.items() if name in known}
    if "tokenizer" in chosen:
        chosen["tokenizer"] = getattr(TokenizerType, chosen["tokenizer"].capitalize())
    return UpdateOperation.create_field_index(field, build(**chosen))
