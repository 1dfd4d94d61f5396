"""Which shard keys a call names: each partition's own key, with the fallback where it has none.

Nobody has to know where a partition lies, nor when it moves: the server takes the target's shards once they answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from qdrant_client import models

from lectern_contract.collection import FALLBACK_SHARD_KEY, ShardBy, shard_key
from lectern_contract.scope import Partition, Scope


@dataclass(frozen=True, slots=True)
class Route:
    """One way to go for a scope: `scope` is the part of it whose points lie behind `selector`."""

    scope: Scope
    selector: models.ShardKeyWithFallback


def routes(scope: Scope, shard_by: ShardBy) -> tuple[Route, ...]:
    """Return the routes that together reach all that `scope` may touch, each partition by exactly one."""
    by_key: dict[str, list[str]] = {}
    for partition in scope.partitions:
        key = shard_key(shard_by, partition.tenant, partition.access_level)
        by_key.setdefault(key, []).append(partition.access_level)
    return tuple(Route(replace(scope, access_levels=tuple(levels)), _selector(key)) for key, levels in by_key.items())


def route_of(partition: Partition, shard_by: ShardBy) -> models.ShardKeyWithFallback:
    """Return where the points of one partition are written."""
    return _selector(shard_key(shard_by, partition.tenant, partition.access_level))


def _selector(key: str) -> models.ShardKeyWithFallback:
    return models.ShardKeyWithFallback(target=key, fallback=FALLBACK_SHARD_KEY)
