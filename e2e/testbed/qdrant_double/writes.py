"""Writes of points: each function answers one request; several operations of a batch run in order.

A write with several shard keys is applied to each of them. All are done when the answer is sent, whatever `wait` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from qdrant_client.http import models
from qdrant_edge import Filter, Point, PointVectors, UpdateMode, UpdateOperation

from e2e.testbed.qdrant_double import filters, routing, strict_mode, vectors
from e2e.testbed.qdrant_double.administration import completed
from e2e.testbed.qdrant_double.catalogue import Collection
from e2e.testbed.qdrant_double.refusals import bad_request, not_found
from e2e.testbed.qdrant_double.store import Call, Store

Upsert: TypeAlias = models.PointsBatch | models.PointsList
Selection: TypeAlias = models.PointIdsList | models.FilterSelector
OfIds: TypeAlias = Callable[[list[Any]], UpdateOperation]
OfFilter: TypeAlias = Callable[[Filter], UpdateOperation]

_UPSERT: TypeAdapter[Upsert] = TypeAdapter(Upsert)
_SELECTION: TypeAdapter[Selection] = TypeAdapter(Selection)
_MODES = {
    models.UpdateMode.UPSERT: UpdateMode.Upsert,
    models.UpdateMode.INSERT_ONLY: UpdateMode.InsertOnly,
    models.UpdateMode.UPDATE_ONLY: UpdateMode.UpdateOnly,
}


def upsert_points(store: Store, request: Call) -> dict[str, Any]:
    """Insert points and replace those that are there."""
    _upsert(store, request.collection(store), request.read_as(_UPSERT))
    return completed(store, request)


def delete_points(store: Store, request: Call) -> dict[str, Any]:
    """Delete points by id or filter."""
    _delete(store, request.collection(store), request.read_as(_SELECTION))
    return completed(store, request)


def set_payload(store: Store, request: Call) -> dict[str, Any]:
    """Set fields of payloads."""
    _set_payload(store, request.collection(store), request.read(models.SetPayload))
    return completed(store, request)


def overwrite_payload(store: Store, request: Call) -> dict[str, Any]:
    """Replace payloads."""
    _overwrite_payload(store, request.collection(store), request.read(models.SetPayload))
    return completed(store, request)


def delete_payload(store: Store, request: Call) -> dict[str, Any]:
    """Remove fields of payloads."""
    _delete_payload(store, request.collection(store), request.read(models.DeletePayload))
    return completed(store, request)


def clear_payload(store: Store, request: Call) -> dict[str, Any]:
    """Empty payloads."""
    _clear_payload(store, request.collection(store), request.read_as(_SELECTION))
    return completed(store, request)


def update_vectors(store: Store, request: Call) -> dict[str, Any]:
    """Set vectors of points that exist."""
    _update_vectors(store, request.collection(store), request.read(models.UpdateVectors))
    return completed(store, request)


def delete_vectors(store: Store, request: Call) -> dict[str, Any]:
    """Remove named vectors of points."""
    _delete_vectors(store, request.collection(store), request.read(models.DeleteVectors))
    return completed(store, request)


def batch(store: Store, request: Call) -> list[dict[str, Any]]:
    """Apply the operations in order; those before one that fails stay applied, as on the server."""
    collection, operations = request.collection(store), request.read(models.UpdateOperations).operations
    done = []
    for operation in operations:
        _apply(store, collection, operation)
        done.append(completed(store, request))
    return done


def _apply(store: Store, collection: Collection, operation: Any) -> None:
    match operation:
        case models.UpsertOperation(upsert=body):
            _upsert(store, collection, body)
        case models.DeleteOperation(delete=body):
            _delete(store, collection, body)
        case models.SetPayloadOperation(set_payload=body):
            _set_payload(store, collection, body)
        case models.OverwritePayloadOperation(overwrite_payload=body):
            _overwrite_payload(store, collection, body)
        case models.DeletePayloadOperation(delete_payload=body):
            _delete_payload(store, collection, body)
        case models.ClearPayloadOperation(clear_payload=body):
            _clear_payload(store, collection, body)
        case models.UpdateVectorsOperation(update_vectors=body):
            _update_vectors(store, collection, body)
        case models.DeleteVectorsOperation(delete_vectors=body):
            _delete_vectors(store, collection, body)


def _upsert(store: Store, collection: Collection, body: Upsert) -> None:
    points = body.points if isinstance(body, models.PointsList) else _of_batch(body.batch)
    strict_mode.check_upsert(collection, len(points), body.update_filter)
    if not points:
        raise bad_request("Empty update request")
    made = [Point(vectors.point_id(each.id), vectors.stored(each.vector), each.payload or {}) for each in points]
    condition = filters.optional(body.update_filter)
    mode = None if body.update_mode is None else _MODES[body.update_mode]
    for group in routing.for_writing(collection, body.shard_key):
        for shard, part in routing.spread(group, ((point.id, point) for point in made)):
            operation = UpdateOperation.upsert_points(part, condition, mode)
            store.shards.update(store.shards.made(collection, shard), operation)


def _of_batch(columns: models.Batch) -> list[models.PointStruct]:
    payloads: Sequence[Any] = columns.payloads or [None] * len(columns.ids)
    if isinstance(columns.vectors, dict):
        rows: Sequence[Any] = [
            {name: column[place] for name, column in columns.vectors.items()} for place in range(len(columns.ids))
        ]
    else:
        rows = columns.vectors
    if not len(columns.ids) == len(rows) == len(payloads):
        raise bad_request("number of ids, vectors and payloads must be equal")
    return [
        models.PointStruct(id=id_, vector=row, payload=payload)
        for id_, row, payload in zip(columns.ids, rows, payloads, strict=True)
    ]


def _delete(store: Store, collection: Collection, body: Selection) -> None:
    of_ids, of_filter = UpdateOperation.delete_points, UpdateOperation.delete_points_by_filter
    _apply_to_selection(store, collection, body, of_ids, of_filter, must_exist=False)


def _clear_payload(store: Store, collection: Collection, body: Selection) -> None:
    of_ids, of_filter = UpdateOperation.clear_payload, UpdateOperation.clear_payload_by_filter
    _apply_to_selection(store, collection, body, of_ids, of_filter, must_exist=True)


def _apply_to_selection(
    store: Store, collection: Collection, body: Selection, of_ids: OfIds, of_filter: OfFilter, *, must_exist: bool
) -> None:
    if isinstance(body, models.FilterSelector):
        _by_filter(store, collection, body.shard_key, body.filter, of_filter)
    else:
        _by_ids(store, collection, body.shard_key, body.points, of_ids, must_exist=must_exist)


def _set_payload(store: Store, collection: Collection, body: models.SetPayload) -> None:
    _on_payload(
        store,
        collection,
        body,
        lambda ids: UpdateOperation.set_payload(ids, body.payload, body.key),
        lambda wanted: UpdateOperation.set_payload_by_filter(wanted, body.payload, body.key),
    )


def _overwrite_payload(store: Store, collection: Collection, body: models.SetPayload) -> None:
    _on_payload(
        store,
        collection,
        body,
        lambda ids: UpdateOperation.overwrite_payload(ids, body.payload, body.key),
        lambda wanted: UpdateOperation.overwrite_payload_by_filter(wanted, body.payload, body.key),
    )


def _delete_payload(store: Store, collection: Collection, body: models.DeletePayload) -> None:
    _on_payload(
        store,
        collection,
        body,
        lambda ids: UpdateOperation.delete_payload(ids, body.keys),
        lambda wanted: UpdateOperation.delete_payload_by_filter(wanted, body.keys),
    )


def _on_payload(
    store: Store,
    collection: Collection,
    body: models.SetPayload | models.DeletePayload,
    of_ids: OfIds,
    of_filter: OfFilter,
) -> None:
    if body.points is not None:
        _by_ids(store, collection, body.shard_key, body.points, of_ids, must_exist=True)
    elif body.filter is not None:
        _by_filter(store, collection, body.shard_key, body.filter, of_filter)
    else:
        raise bad_request("Either list of point ids or filter must be provided")


def _update_vectors(store: Store, collection: Collection, body: models.UpdateVectors) -> None:
    strict_mode.check_upsert(collection, len(body.points), body.update_filter)
    made = {vectors.point_id(each.id): vectors.stored(each.vector) for each in body.points}
    condition = filters.optional(body.update_filter)

    def of_ids(ids: list[Any]) -> UpdateOperation:
        return UpdateOperation.update_vectors([PointVectors(id_, made[id_]) for id_ in ids], condition)

    _by_ids(store, collection, body.shard_key, list(made), of_ids, must_exist=True)


def _delete_vectors(store: Store, collection: Collection, body: models.DeleteVectors) -> None:
    if body.filter is None and body.points is None:
        raise bad_request("No filter or points provided")
    if body.filter is not None:
        _by_filter(
            store,
            collection,
            body.shard_key,
            body.filter,
            lambda wanted: UpdateOperation.delete_vectors_by_filter(wanted, body.vector),
        )
    if body.points is not None:
        _by_ids(
            store,
            collection,
            body.shard_key,
            body.points,
            lambda ids: UpdateOperation.delete_vectors(ids, body.vector),
            must_exist=True,
        )


def _by_ids(
    store: Store, collection: Collection, selector: Any, points: Sequence[Any], operation: OfIds, *, must_exist: bool
) -> None:
    ids = [vectors.point_id(id_) for id_ in points]
    for group in routing.for_writing(collection, selector):
        for shard, part in routing.spread(group, ((id_, id_) for id_ in ids)):
            stored = store.shards.get(collection, shard)
            if stored is not None:
                store.shards.update(stored, operation(part))
            elif must_exist:
                raise not_found(f"No point with id {part[0]} found")


def _by_filter(store: Store, collection: Collection, selector: Any, wanted: models.Filter, operation: OfFilter) -> None:
    strict_mode.check_update(collection, wanted)
    condition = filters.of(wanted)
    for group in routing.for_writing(collection, selector):
        for shard in group:
            stored = store.shards.get(collection, shard)
            if stored is not None:
                store.shards.update(stored, operation(condition))
