"""Where the partitions of a KnowledgeBase lie in its collection, and how one that has grown gets shards of its own.

    no key --prepare--> key that does not answer --copy--> key that answers --delete copies--> done
                        (reads and writes: fallback)       (reads and writes: key)

Calls name the key and the fallback, so the switch is Qdrant's: the moment the copy is complete. Each arrow is a step
that can be repeated, and the next one follows from what is seen, so that a crash at any point costs a look. Qdrant
copies from one shard to one place at a time, and so do we. While there is no fallback key nothing can lie in it: then
keys are made that answer at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lectern_contract import collection as contract
from lectern_contract.collection import FALLBACK_SHARD_KEY, GROWN_POINTS, MAX_SHARD_KEYS, ShardKey
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.status import PartitionState
from lectern_operator.facts import Fact, Unknown
from lectern_operator.facts.vector_store import (
    CopyPartition,
    CreateShardKeys,
    DeleteCopies,
    ObservedCollection,
    PreparePartition,
    Shared,
    Step,
    StoreState,
)

MAX_KEYS_A_PASS = 50
MAX_DELETES_A_PASS = 10
MAX_TOLD = 64
"""Partitions in the status."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Steps for keys that nothing lies under yet, and steps that move points.

    `usable` when points can be written and found after them, `more` when others follow.
    """

    made: tuple[Step, ...] = ()
    moved: tuple[Step, ...] = ()
    usable: bool = True
    more: bool = False


def plan(kb: KnowledgeBase, found: ObservedCollection) -> Moves:
    """Return what has to be done now to bring partitions where they belong."""
    there = found.keys
    if FALLBACK_SHARD_KEY not in there:
        missing = tuple(each for each in contract.shard_keys(kb) if each.key not in there)
        now = missing[:MAX_KEYS_A_PASS]
        rest = len(missing) > len(now)
        return Moves((CreateShardKeys(found.name, now),), usable=not rest, more=rest)
    moved = (*_deletes(found), *_copy(kb, found))
    waiting = bool(_waiting(kb, found)) or any(found.coming(key) for key in there)
    return Moves(moved=moved, more=bool(moved) or waiting)


def fault(kb: KnowledgeBase, found: ObservedCollection) -> str:
    """Say what stands in the way and cannot be mended here; empty when nothing does."""
    shared = found.keys.get(FALLBACK_SHARD_KEY, ())
    if len(shared) > 1:
        return (
            f"shard key {FALLBACK_SHARD_KEY} of {found.name} has {len(shared)} shards, not 1: "
            "no partition can be moved out of it; delete the collection, it is made anew and filled from the log"
        )
    for each in _shared(found).values():
        key = each.partition.key
        if found.answers(key) and not each.copied and each.records is not None:
            return (
                f"shard key {key} of {found.name} was made by somebody else: it holds {each.arrived} of {each.records} "
                f"documents that lie in {FALLBACK_SHARD_KEY}; if it is empty, delete it, it is made anew with all of "
                "them, otherwise ask for a full resync of the sources"
            )
    there = found.keys
    for wanted in contract.shard_keys(kb):
        shards = found.keys.get(wanted.key, ())
        if not shards and len(there) > MAX_SHARD_KEYS:
            return (
                f"{found.name} has {len(there) - 1} shard keys, {MAX_SHARD_KEYS} at most: there is none left for "
                f"{wanted.key}; delete the keys of tenants that are gone"
            )
        if shards and len(shards) != wanted.shards:
            return (
                f"shard key {wanted.key} of {found.name} has {len(shards)} shards, not {wanted.shards}: a key keeps "
                "its number, and a promoted one has 1; set shardNumber of the tenant to what there is"
            )
    return ""


def left(kb: KnowledgeBase, found: ObservedCollection) -> str:
    """Say what is still to be done; empty when nothing is."""
    there = found.keys
    wanted = contract.shard_keys(kb)
    if FALLBACK_SHARD_KEY not in there:
        made = sum(each.key in there for each in wanted)
        return f"{made} of {len(wanted)} shard keys of {found.name} are made"
    if not found.answers(FALLBACK_SHARD_KEY):
        return f"shard key {FALLBACK_SHARD_KEY} of {found.name} does not answer yet"
    # A partition that has grown by itself moves without a word: nothing that was asked for is missing meanwhile.
    moving = [each.key for each in wanted if found.coming(each.key)]
    waiting = [each.key for each in wanted if each.key not in there]
    if moving or waiting:
        first = (moving or waiting)[0]
        return f"{len(moving) + len(waiting)} partitions move to shards of their own, {first} first"
    if slow := [each.key for each in wanted if not found.answers(each.key)]:
        return f"shard key {slow[0]} of {found.name} does not answer yet"
    return ""


def states(kb: KnowledgeBase, *, name: str, store: Fact[StoreState]) -> tuple[tuple[PartitionState, ...], int | None]:
    """Return the first partitions of the collection `name`, and how many there are; what was said before if unread."""
    if isinstance(store, Unknown):
        return kb.status.partitions, kb.status.partition_count
    found = store.value.collections.get(name)
    if found is None or FALLBACK_SHARD_KEY not in found.keys:
        return (), 0
    spec = kb.spec.partitioning
    known = {ShardKey.of(spec.shard_by, each.name, level).key for each in spec.tenants for level in spec.access_levels}
    known |= _shared(found).keys()
    own = {key for key in found.keys if contract.parsed(spec.shard_by, key) is not None}
    told = sorted(known | own)
    return tuple(_state(found, key, own=key in own) for key in told[:MAX_TOLD]), len(told)


def _state(found: ObservedCollection, key: str, *, own: bool) -> PartitionState:
    if not own:
        return PartitionState(name=key, shard_key=FALLBACK_SHARD_KEY, placement="Shared")
    if found.coming(key):
        return PartitionState(name=key, shard_key=FALLBACK_SHARD_KEY, placement="Promoting")
    return PartitionState(name=key, shard_key=key, placement="Promoting" if key in _shared(found) else "Dedicated")


def _deletes(found: ObservedCollection) -> list[Step]:
    """Return deletions of what lies under its own key as well."""
    if found.owner is None:
        return []
    copied = [each for key, each in sorted(_shared(found).items()) if found.answers(key) and each.copied]
    return [DeleteCopies(found.name, found.owner, each.partition) for each in copied[:MAX_DELETES_A_PASS]]


def _copy(kb: KnowledgeBase, found: ObservedCollection) -> list[Step]:
    """Return the steps that get one more partition on its way, none while another is."""
    source = found.keys.get(FALLBACK_SHARD_KEY, ())
    if len(source) != 1 or not source[0].active or source[0].busy:
        return []
    shard_by = kb.spec.partitioning.shard_by
    for key in sorted(found.keys):
        prepared = contract.parsed(shard_by, key)
        if prepared is not None and found.coming(key):
            return [] if any(shard.busy for shard in found.keys.get(key, ())) else [CopyPartition(found.name, prepared)]
    for wanted in _waiting(kb, found)[:1]:
        return [PreparePartition(found.name, wanted), CopyPartition(found.name, wanted)]
    return []


def _waiting(kb: KnowledgeBase, found: ObservedCollection) -> list[ShardKey]:
    """Return the partitions that shall have a key and have none: those with the most points first."""
    there, points = found.keys, {key: each.points for key, each in _shared(found).items()}
    asked = [each for each in contract.shard_keys(kb) if each.tenant is not None]
    named = {each.key for each in asked}
    grown = [
        each.partition
        for key, each in sorted(_shared(found).items())
        if key not in named and each.points >= GROWN_POINTS
    ]
    missing = [each for each in (*asked, *grown) if each.key not in there]
    room = max(0, MAX_SHARD_KEYS - (len(there) - 1))
    return sorted(missing, key=lambda each: (-points.get(each.key, 0), each.key))[:room]


def _shared(found: ObservedCollection) -> Mapping[str, Shared]:
    return {} if isinstance(found.shared, Unknown) else found.shared.value
