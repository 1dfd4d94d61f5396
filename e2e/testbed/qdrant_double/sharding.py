"""Shard keys, the collection's part of the cluster, and promotion: points replicated from one key to another.

A key that was made Partial is not read and takes no writes by fallback routing until its points have arrived: then it
is Active. A transfer is in the catalogue until it is done, so a restart resumes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, TypeAdapter
from qdrant_client.http import models
from qdrant_edge import CountRequest, Point, ScrollRequest, UpdateOperation

from e2e.testbed.qdrant_double import filters, routing
from e2e.testbed.qdrant_double.catalogue import Collection, Shard, ShardKey, Transfer
from e2e.testbed.qdrant_double.refusals import bad_request, unsupported, wrong_input
from e2e.testbed.qdrant_double.shards import call
from e2e.testbed.qdrant_double.store import Call, Store

PAGE = 500
_CLUSTER_CHANGE: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
_INITIAL_STATES = (None, models.ReplicaState.ACTIVE, models.ReplicaState.PARTIAL)


class Replication(BaseModel):
    """The body of a change of the cluster that replicates points."""

    replicate_points: models.ReplicatePoints


def list_shard_keys(store: Store, request: Call) -> dict[str, Any]:
    """The shard keys of a collection; none with automatic sharding."""
    collection = request.collection(store)
    return {"shard_keys": [{"key": key} for key in collection.keys] if collection.custom_sharding else None}


def create_shard_key(store: Store, request: Call) -> bool:
    """Make a shard key with its shards on this one node."""
    collection, wanted = request.collection(store), request.read(models.CreateShardingKey)
    _check_custom(collection)
    key = routing.shown(wanted.shard_key)
    if wanted.initial_state not in _INITIAL_STATES:
        state = wanted.initial_state.value if wanted.initial_state else None
        raise bad_request(f"Initial state cannot be {state}, only Active or Partial are allowed")
    if collection.of_key(wanted.shard_key):
        raise bad_request(f"Sharding key {key} already exists for collection {collection.name}")
    if wanted.placement is not None:
        _check_placement(key, wanted.placement, store.catalogue.peer)
    number = collection.config["params"]["shard_number"] if wanted.shards_number is None else wanted.shards_number
    if number < 1 or wanted.replication_factor == 0:
        raise bad_request("shards_number and replication_factor must be 1 or larger")
    partial = wanted.initial_state is models.ReplicaState.PARTIAL
    for _ in range(number):
        shard = Shard(collection.next_shard(), wanted.shard_key, "Partial" if partial else "Active")
        collection.shards.append(shard)
    store.catalogue.save()
    return True


def delete_shard_key(store: Store, request: Call) -> bool:
    """Remove a shard key with its points and the transfers from and to it."""
    collection, unwanted = request.collection(store), request.read(models.DropShardingKey)
    _check_custom(collection)
    shards = collection.of_key(unwanted.shard_key)
    if not shards:
        key = routing.shown(unwanted.shard_key)
        raise bad_request(f"Sharding key {key} does not exist for collection {collection.name}")
    gone = {shard.id for shard in shards}
    collection.shards = [shard for shard in collection.shards if shard.id not in gone]
    collection.transfers = [each for each in collection.transfers if not {each.source, each.target} & gone]
    store.catalogue.save()
    for shard in shards:
        store.shards.remove(collection, shard)
    return True


# ------------------------------------------------------------------------------------------------- cluster


def cluster_status(store: Store, request: Call) -> dict[str, Any]:
    """A cluster of this one peer."""
    peer = store.catalogue.peer
    return {
        "status": "enabled",
        "peer_id": peer,
        "peers": {str(peer): {"uri": "http://127.0.0.1:6335/"}},
        "raft_info": {
            "term": 1,
            "commit": store.shards.sequence,
            "pending_operations": 0,
            "leader": peer,
            "role": "Leader",
            "is_voter": True,
        },
        "consensus_thread_status": {
            "consensus_thread_status": "working",
            "last_update": datetime.now(UTC).isoformat(),
        },
        "message_send_failures": {},
    }


def collection_cluster(store: Store, request: Call) -> dict[str, Any]:
    """The shards of a collection, all on this peer, and the transfers under way."""
    collection, peer = request.collection(store), store.catalogue.peer
    return {
        "peer_id": peer,
        "shard_count": len(collection.shards),
        "local_shards": [_local_shard(store, collection, shard) for shard in collection.shards],
        "remote_shards": [],
        "shard_transfers": [
            {
                "shard_id": each.source,
                "to_shard_id": each.target,
                "from": peer,
                "to": peer,
                "sync": True,
                "method": "stream_records",
            }
            for each in collection.transfers
        ],
    }


def change_cluster(store: Store, request: Call) -> bool:
    """Begin to replicate points between shard keys; every other change needs a second node and is refused."""
    collection, body = request.collection(store), request.read_as(_CLUSTER_CHANGE)
    if body.keys() != {"replicate_points"}:
        raise unsupported(f"the cluster operation {', '.join(sorted(body)) or 'without a name'}")
    wanted = request.read(Replication).replicate_points
    source = _only_shard(collection, wanted.from_shard_key, "Only replicating from shard keys with exactly one shard")
    target = _only_shard(collection, wanted.to_shard_key, "Only replicating to shard keys with exactly one replica")
    if source is target:
        raise bad_request("to_shard_key must be different from from_shard_key")
    if target.state != "Partial":
        raise unsupported("replicate_points into a shard key that is not Partial")
    if any(each.target == target.id for each in collection.transfers):
        raise bad_request(f"There is already a transfer to shard {target.id}")
    if wanted.filter is not None:
        filters.of(wanted.filter)  # refuses what the double lacks before the transfer is stored
    condition = None if wanted.filter is None else json.loads(wanted.filter.model_dump_json(exclude_none=True))
    collection.transfers.append(Transfer(source.id, target.id, condition))
    store.catalogue.save()
    return True


def finish_transfers(store: Store) -> None:
    """Copy the points of every transfer and make its target Active; a repeated copy changes nothing."""
    for collection in store.catalogue.collections.values():
        while collection.transfers:
            transfer = collection.transfers[0]
            shards = {shard.id: shard for shard in collection.shards}
            _copy(store, collection, shards[transfer.source], shards[transfer.target], transfer.filter)
            shards[transfer.target].state = "Active"
            del collection.transfers[0]
            store.catalogue.save()


def _copy(store: Store, collection: Collection, source: Shard, target: Shard, condition: dict[str, Any] | None) -> None:
    for points in _pages(store, collection, source, condition):
        store.shards.update(store.shards.made(collection, target), UpdateOperation.upsert_points(points))


def _pages(
    store: Store, collection: Collection, shard: Shard, condition: dict[str, Any] | None
) -> Iterator[list[Point]]:
    wanted = None if condition is None else filters.of(models.Filter.model_validate(condition))
    offset: Any = None
    while (stored := store.shards.get(collection, shard)) is not None:
        page = ScrollRequest(offset=offset, limit=PAGE, filter=wanted, with_payload=True, with_vector=True)
        records, offset = call(stored.scroll, page)
        if records:
            yield [Point(record.id, record.vector or {}, record.payload) for record in records]
        if offset is None:
            return


def _local_shard(store: Store, collection: Collection, shard: Shard) -> dict[str, Any]:
    stored = store.shards.get(collection, shard)
    points = 0 if stored is None else call(stored.count, CountRequest(exact=True))
    described = {"shard_id": shard.id, "points_count": points, "state": shard.state}
    return described if shard.key is None else described | {"shard_key": shard.key}


def _check_custom(collection: Collection) -> None:
    if not collection.custom_sharding:
        raise bad_request("Shard Key cannot be created with Auto sharding method")


def _check_placement(key: str, placement: list[int], peer: int) -> None:
    if not placement:
        raise bad_request(
            f"Sharding key {key} placement cannot be empty. "
            "If you want to use random placement, do not specify placement"
        )
    for each in placement:
        if each != peer:
            raise bad_request(f"Peer {each} does not exist")


def _only_shard(collection: Collection, key: ShardKey, rule: str) -> Shard:
    shards = collection.of_key(key)
    if not shards:
        raise wrong_input(f"Shard key {routing.shown(key)} does not exist for collection {collection.name}")
    if len(shards) != 1:
        raise bad_request(f"{rule} is supported. Shard key {routing.shown(key)} has {len(shards)}")
    return shards[0]
