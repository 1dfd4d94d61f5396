"""Which shards a request goes to: the server's rules for shard keys, lists of keys and a target with a fallback.

Reads without a key go to every active shard, writes without one are refused where sharding is custom. Points are
spread over the shards of one key by their id.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from qdrant_client.http import models

from e2e.testbed.qdrant_double.catalogue import Collection, Shard, ShardKey
from e2e.testbed.qdrant_double.refusals import bad_request, internal, not_found, unavailable, wrong_input

T = TypeVar("T")

Selector = ShardKey | list[ShardKey] | models.ShardKeyWithFallback | None


def for_reading(collection: Collection, selector: Selector) -> list[Shard]:
    """The shards that answer; raises Refused where a key is unknown or cannot answer."""
    if selector is None:
        return [shard for shard in collection.shards if shard.state == "Active"]
    if isinstance(selector, models.ShardKeyWithFallback):
        return _target_or_fallback(collection, selector)
    keys = selector if isinstance(selector, list) else [selector]
    chosen: list[Shard] = []
    for key in keys:
        shards = collection.of_key(key)
        if not shards:
            raise bad_request(f"Shard key {shown(key)} not found")
        chosen.extend(shard for shard in shards if shard not in chosen)
    _check_active(collection, chosen)
    return chosen


def for_writing(collection: Collection, selector: Selector) -> list[list[Shard]]:
    """The groups of shards that each take the whole write: one group for each key."""
    if selector is None:
        if collection.custom_sharding:
            raise wrong_input("Shard key not specified")
        return [collection.shards]
    if isinstance(selector, models.ShardKeyWithFallback):
        return [_target_or_fallback(collection, selector)]
    keys = selector if isinstance(selector, list) else [selector]
    if not keys:
        raise wrong_input("Empty shard keys selection")
    groups = []
    for key in keys:
        shards = collection.of_key(key)
        if not shards:
            raise wrong_input(f"Shard key {shown(key)} not found")
        _check_active(collection, shards)
        groups.append(shards)
    return groups


def spread(shards: Sequence[Shard], items: Iterable[tuple[str | int | UUID, T]]) -> list[tuple[Shard, list[T]]]:
    """Give each item, which comes with its point's id, to one of the shards; shards that get none are left out."""
    parts: dict[int, list[T]] = {}
    for id_, item in items:
        parts.setdefault(zlib.crc32(str(id_).encode()) % len(shards), []).append(item)
    return [(shards[place], part) for place, part in sorted(parts.items())]


def shown(key: ShardKey) -> str:
    """The key as the server's messages show it: words in quotes."""
    return json.dumps(key, ensure_ascii=False)


def _target_or_fallback(collection: Collection, selector: models.ShardKeyWithFallback) -> list[Shard]:
    target, fallback = collection.of_key(selector.target), collection.of_key(selector.fallback)
    if target and all(shard.state == "Active" for shard in target):
        return target
    if fallback:
        _check_active(collection, fallback)
        return fallback
    pair = f"Neither target shard key {shown(selector.target)} nor fallback shard key {shown(selector.fallback)}"
    if target:
        raise unavailable(f"{pair} have active replicas")
    raise not_found(f"{pair} exist")


def _check_active(collection: Collection, shards: Iterable[Shard]) -> None:
    for shard in shards:
        if shard.state != "Active":
            raise internal(f"The replica set for shard {shard.id} of {collection.name} has no active replica")
