"""Collections, aliases and payload indexes: each function answers one request with the `result` of its envelope.

They run in the server's one worker thread, so none sees another half done.
"""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import BaseModel
from qdrant_client.http import models
from qdrant_edge import CountRequest

from e2e.testbed.qdrant_double import collection_config, payload_indexes
from e2e.testbed.qdrant_double.catalogue import Collection, Shard
from e2e.testbed.qdrant_double.refusals import already_exists, not_found, strict_mode, wrong_input
from e2e.testbed.qdrant_double.shards import call
from e2e.testbed.qdrant_double.store import Call, Store


class AliasActions(BaseModel):
    """The body of a change of aliases."""

    actions: list[models.CreateAliasOperation | models.DeleteAliasOperation | models.RenameAliasOperation]


def list_collections(store: Store, request: Call) -> dict[str, Any]:
    """The names of all collections."""
    return {"collections": [{"name": name} for name in store.catalogue.collections]}


def collection_exists(store: Store, request: Call) -> dict[str, Any]:
    """Whether a collection or an alias has the name."""
    name = request.path["name"]
    return {"exists": store.catalogue.aliases.get(name, name) in store.catalogue.collections}


def create_collection(store: Store, request: Call) -> bool:
    """Make a collection; with automatic sharding its shards as well."""
    name, catalogue = request.path["name"], store.catalogue
    collection_config.check_name(name)
    config = collection_config.created(request.read(models.CreateCollection))
    if name in catalogue.collections:
        raise already_exists(f"Collection `{name}` already exists!")
    if name in catalogue.aliases:
        raise wrong_input(f"Can't create collection with name {name}. Alias with the same name already exists")
    collection = Collection(name=name, directory=uuid.uuid4().hex, config=config)
    if not collection.custom_sharding:
        collection.shards = [Shard(id=number, key=None) for number in range(config["params"]["shard_number"])]
    catalogue.collections[name] = collection
    catalogue.save()
    return True


def update_collection(store: Store, request: Call) -> bool:
    """Change settings of a collection."""
    collection = request.collection(store)
    collection.config = collection_config.updated(collection.config, request.read(models.UpdateCollection))
    store.catalogue.save()
    return True


def delete_collection(store: Store, request: Call) -> bool:
    """Remove a collection with its aliases; an alias names none here, as on the server."""
    collection = store.catalogue.collections.pop(request.path["name"], None)
    if collection is None:
        return False
    aliases = store.catalogue.aliases
    for alias in [alias for alias, target in aliases.items() if target == collection.name]:
        del aliases[alias]
    store.catalogue.save()
    store.shards.remove_collection(collection)
    return True


def get_collection(store: Store, request: Call) -> dict[str, Any]:
    """Settings, indexes and counts of a collection."""
    collection = request.collection(store)
    shards = [shard for shard in (store.shards.get(collection, each) for each in collection.shards) if shard]
    schemas = [call(shard.info).payload_schema for shard in shards]
    points = sum(call(shard.count, CountRequest(exact=True)) for shard in shards)
    return {
        "status": "green",
        "optimizer_status": "ok",
        "indexed_vectors_count": 0,
        "points_count": points,
        "segments_count": sum(call(shard.info).segments_count for shard in shards),
        "config": collection.config,
        "payload_schema": {
            field: index | {"points": sum(schema[field].points for schema in schemas if field in schema)}
            for field, index in collection.indexes.items()
        },
        "update_queue": {"length": 0},
    }


# ------------------------------------------------------------------------------------------------- aliases


def change_aliases(store: Store, request: Call) -> bool:
    """Apply the actions in order; like the server it keeps those before one that fails."""
    try:
        for action in request.read(AliasActions).actions:
            _change_alias(store, action)
    finally:
        store.catalogue.save()
    return True


def list_aliases(store: Store, request: Call) -> dict[str, Any]:
    """All aliases."""
    return {"aliases": _described(store.catalogue.aliases)}


def list_collection_aliases(store: Store, request: Call) -> dict[str, Any]:
    """The aliases of one collection."""
    name = request.path["name"]
    return {"aliases": _described({alias: at for alias, at in store.catalogue.aliases.items() if at == name})}


def _change_alias(
    store: Store, action: models.CreateAliasOperation | models.DeleteAliasOperation | models.RenameAliasOperation
) -> None:
    collections, aliases = store.catalogue.collections, store.catalogue.aliases
    match action:
        case models.CreateAliasOperation(create_alias=wanted):
            if wanted.collection_name not in collections:
                raise not_found(f"Collection `{wanted.collection_name}` doesn't exist!")
            if wanted.alias_name in collections:
                raise already_exists(f"Collection `{wanted.alias_name}` already exists!")
            aliases[wanted.alias_name] = wanted.collection_name
        case models.DeleteAliasOperation(delete_alias=unwanted):
            aliases.pop(unwanted.alias_name, None)
        case models.RenameAliasOperation(rename_alias=change):
            if change.old_alias_name not in aliases:
                raise not_found(f"Alias {change.old_alias_name} does not exists!")
            aliases[change.new_alias_name] = aliases.pop(change.old_alias_name)


def _described(aliases: dict[str, str]) -> list[dict[str, str]]:
    return [{"alias_name": alias, "collection_name": name} for alias, name in aliases.items()]


# ------------------------------------------------------------------------------------------ payload indexes


def create_index(store: Store, request: Call) -> dict[str, Any]:
    """Make or replace the index of a payload field."""
    collection, wanted = request.collection(store), request.read(models.CreateFieldIndex)
    index = payload_indexes.index(wanted)
    limits = collection.config["strict_mode_config"]
    most = limits.get("max_payload_index_count") if limits["enabled"] else None
    if most is not None and len(collection.indexes) >= most:
        raise strict_mode(
            f"Collection already has the maximum number of payload indices ({most})",
            "Please delete an existing index before creating a new one.",
        )
    payload_indexes.creation(wanted.field_name, index)  # refuses what the double lacks before it is stored
    if collection.indexes.get(wanted.field_name) != index:
        collection.indexes[wanted.field_name] = index
        store.catalogue.save()
        store.shards.create_index(collection, wanted.field_name)
    return completed(store, request)


def delete_index(store: Store, request: Call) -> dict[str, Any]:
    """Remove the index of a payload field, if it has one."""
    collection, field = request.collection(store), request.path["field"]
    if collection.indexes.pop(field, None) is not None:
        store.catalogue.save()
        store.shards.delete_index(collection, field)
    return completed(store, request)


def completed(store: Store, request: Call) -> dict[str, Any]:
    """The result of a write: `completed` where the caller waits for it, otherwise `acknowledged`."""
    status = "completed" if request.query.get("wait") == "true" else "acknowledged"
    return {"operation_id": store.shards.sequence, "status": status}
