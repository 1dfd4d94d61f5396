"""Collections as a look may see them, and what is decided about them: what the tests of the policies start from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lectern_contract import collection as contract
from lectern_contract.collection import ShardKey
from lectern_contract.conditions import Verdict
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.vector_store import (
    ObservedCollection,
    ObservedShard,
    Replica,
    Shared,
    StoreState,
)
from lectern_operator.policies import collection as policy
from lectern_operator_tests import worlds

NAME, ALIAS = "team.docs.g1", "team.docs"
LENGTH: Fact[int] = Known(384)
KB = worlds.knowledge_base()
ACME = ShardKey("acme/public", "acme", "public")
DEDICATED = worlds.knowledge_base(partitioning__tenants=[{"name": "acme", "dedicated": True}])
MANY = [{"name": f"tenant-{number:04}", "dedicated": True} for number in range(1000)]


def shard(number: int, *states: str, busy: bool = False) -> ObservedShard:
    """Return a shard with a copy in each of these states, on nodes 1, 2, ..."""
    copies = tuple(Replica(peer, state) for peer, state in enumerate(states, start=1))
    return ObservedShard(number, copies, busy=busy)


def complete(kb: KnowledgeBase = KB, **changes: Any) -> ObservedCollection:
    """Return the collection of `kb` as it has to be, with changes."""
    wanted = contract.collection(kb, generation=1, dimensions=384)
    keys = {
        key.key: tuple(shard(10 * number + each, "Active") for each in range(key.shards))
        for number, key in enumerate(contract.shard_keys(kb))
    }
    found = ObservedCollection(NAME, wanted.owner, wanted.shape, wanted.settings, wanted.indexes, keys)
    return replace(found, **changes)


def store(found: ObservedCollection | None, alias: str | None = NAME) -> Fact[StoreState]:
    """Return a store with this collection and what the alias stands for."""
    return Known(StoreState({} if found is None else {NAME: found}, {} if alias is None else {ALIAS: alias}))


def with_key(found: ObservedCollection, key: str, *shards: ObservedShard) -> ObservedCollection:
    """Return `found` with other shards below a key."""
    return replace(found, keys={**found.keys, key: shards})


def shared(partition: ShardKey, points: int, *counts: int) -> Fact[dict[str, Shared]]:
    """Return what lies in the fallback shard of one partition."""
    return Known({partition.key: Shared(partition, points, *counts)})


def plan(kb: KnowledgeBase, seen: Fact[StoreState], dimensions: Fact[int] = LENGTH) -> policy.StorePlan:
    """Return what is to be done for generation 1."""
    return policy.plan(kb, generation=1, dimensions=dimensions, store=seen)


def verdict(
    kb: KnowledgeBase,
    seen: Fact[StoreState],
    dimensions: Fact[int] = LENGTH,
    failures: tuple[Unknown, ...] = (),
) -> tuple[str, Reason, str]:
    """Return what the status says of generation 1."""
    found = policy.verdict(kb, generation=1, dimensions=dimensions, store=seen, failures=failures)
    assert found == Verdict(ConditionType.COLLECTION_READY, found.status, found.reason, found.message)
    return found.status, found.reason, found.message
