"""What has to be done about the collection of a KnowledgeBase, and what its status says of it.

What is missing is made, what can be changed in place is put right. What a collection keeps for its life is reported and
left: nothing here drops a collection, a key or a point for the sake of a spec. A name that belongs to somebody else is
not touched at all, and nothing follows from an Unknown. Where partitions lie is decided in `partitions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lectern_contract import collection as contract
from lectern_contract import names
from lectern_contract.collection import FALLBACK_SHARD_KEY, Collection, Index, Owner
from lectern_contract.conditions import Truth, Verdict
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import Denied, Unauthorised
from lectern_operator.facts.vector_store import (
    DEAD,
    ChangeSettings,
    CreateCollection,
    CreateIndexes,
    DeleteAlias,
    DeleteCollection,
    ObservedCollection,
    ObservedShard,
    Rejected,
    SetAlias,
    Step,
    StoreState,
    Subject,
    Unreachable,
)
from lectern_operator.policies import partitions, replicas, summary

ASPECT = ConditionType.COLLECTION_READY


@dataclass(frozen=True, slots=True)
class StorePlan:
    """Steps in the order in which they have to be taken, none after one that failed; `more` when others follow soon."""

    steps: tuple[Step, ...] = ()
    more: bool = False


def subject(kb: KnowledgeBase) -> Subject:
    """Return what has to be looked at for `kb`."""
    keys = () if _too_many_keys(kb) else contract.shard_keys(kb)
    wanted = frozenset(each.key for each in keys if each.tenant is not None)
    return Subject(names.alias(kb.namespace, kb.name), kb.spec.partitioning.shard_by, wanted)


def plan(
    kb: KnowledgeBase,
    *,
    generation: int,
    dimensions: Fact[int],
    store: Fact[StoreState],
    activate: bool = False,
) -> StorePlan:
    """Return the steps that bring the collection of `generation` to what the spec says.

    `activate` lets the alias move here from another generation; otherwise it is only made where it is missing.
    """
    idle = kb.spec.vector_store is None or kb.spec.suspend or bool(_too_many_keys(kb))
    if idle or isinstance(dimensions, Unknown) or isinstance(store, Unknown):
        return StorePlan()
    wanted = contract.collection(kb, generation=generation, dimensions=dimensions.value)
    if _taken(wanted, store.value):
        return StorePlan()
    found = store.value.collections.get(wanted.name)
    first: tuple[Step, ...] = () if found is not None else (CreateCollection(wanted),)
    found = found or ObservedCollection(wanted.name, wanted.owner, wanted.shape, wanted.settings)
    built = (*first, *_mended(wanted, found))
    moves = partitions.plan(kb, found) if _fits(wanted, found) else partitions.Moves()
    alias = _alias(wanted, store.value, activate=activate) if moves.usable else ()
    copies = () if moves.moved else replicas.plan(wanted, found)
    return StorePlan((*built, *moves.made, *alias, *moves.moved, *copies), more=moves.more or bool(copies))


def deletion(kb: KnowledgeBase, *, store: Fact[StoreState]) -> Fact[tuple[Step, ...]]:
    """Return the steps that delete every generation of `kb`, none where they stay or are gone; Unknown if unread."""
    if kb.spec.vector_store is None or kb.spec.deletion_policy != "Delete":
        return Known(())
    if isinstance(store, Unknown):
        return store
    state, alias = store.value, names.alias(kb.namespace, kb.name)
    ours = {name: each.owner for name, each in sorted(state.collections.items()) if _is_of(kb, each.owner)}
    steps: list[Step] = [DeleteCollection(name, owner) for name, owner in ours.items() if owner is not None]
    if (target := state.aliases.get(alias)) in ours and target is not None:
        steps.insert(0, DeleteAlias(alias, target))
    return Known(tuple(steps))


def unplaceable(kb: KnowledgeBase) -> summary.Blocked | None:
    """Say why no collection takes the partitions of the spec; None when one does. What runs is left as it is."""
    words = _too_many_keys(kb) if kb.spec.vector_store is not None else ""
    return summary.Blocked(Reason.INVALID_SPEC, words, stalled=True) if words else None


def verdict(
    kb: KnowledgeBase,
    *,
    generation: int,
    dimensions: Fact[int],
    store: Fact[StoreState],
    failures: Sequence[Unknown] = (),
) -> Verdict:
    """Judge the collection; `store` is what was seen after the steps, `failures` what came of those not done."""
    if kb.spec.vector_store is None:
        return _verdict("Unknown", Reason.NOT_ON_CLUSTER, "spec.vectorStore is not set")
    if isinstance(store, Unknown):
        return _failed(store)
    if words := _too_many_keys(kb):
        return _verdict("False", Reason.INVALID_SPEC, words)
    name = names.collection(kb.namespace, kb.name, generation)
    found = store.value.collections.get(name)
    wanted = contract.collection(kb, generation=generation, dimensions=_length(kb, dimensions, found))
    if words := _taken(wanted, store.value):
        return _verdict("False", Reason.COLLECTION_TAKEN, words)
    if failures:
        return _failed(failures[0])
    if found is None:
        return _missing(kb, name, dimensions)
    return _judged(kb, wanted, found, store.value, dimensions)


def _judged(
    kb: KnowledgeBase, wanted: Collection, found: ObservedCollection, state: StoreState, dimensions: Fact[int]
) -> Verdict:
    if words := _difference(wanted, found) or partitions.fault(kb, found) or replicas.fault(wanted, found):
        return _verdict("False", Reason.COLLECTION_CHANGED, words)
    if (target := state.aliases.get(wanted.alias)) not in (None, wanted.name):
        said = f"the alias {wanted.alias} stands for {target}, not for {wanted.name}"
        return _verdict("False", Reason.COLLECTION_CHANGED, f"{said}: set it back, or delete it, it is made anew")
    if words := _dark(found):
        return _verdict("False", Reason.COMPONENT_NOT_READY, words)
    if words := _left(kb, wanted, found, state):
        if kb.spec.suspend:
            return _verdict("False", Reason.SUSPENDED, f"spec.suspend is true, nothing is mended: {words}")
        if isinstance(dimensions, Unknown):
            return _verdict("False", Reason.WAITING, f"{words}, once vectors can be measured: {dimensions.reason}")
        return _verdict("False", Reason.PROGRESSING, words)
    keys = len(found.keys.keys() - {FALLBACK_SHARD_KEY})
    own = f", {keys} partitions with shards of their own" if keys else ""
    told = f"{wanted.name} behind {wanted.alias}: vectors of length {wanted.shape.dimensions}{own}"
    return _verdict("True", Reason.COLLECTION_EXISTS, told)


def _missing(kb: KnowledgeBase, name: str, dimensions: Fact[int]) -> Verdict:
    if kb.spec.suspend:
        return _verdict("False", Reason.SUSPENDED, f"spec.suspend is true: {name} is not made")
    if isinstance(dimensions, Unknown):
        message = f"{name} is made once its vectors have been measured: {dimensions.reason}"
        return _verdict("False", Reason.WAITING, message)
    return _verdict("False", Reason.PROGRESSING, f"{name} does not exist yet")


def _length(kb: KnowledgeBase, dimensions: Fact[int], found: ObservedCollection | None) -> int:
    """Return the vector length to judge by: an existing collection is judged without the embedder's help."""
    if isinstance(dimensions, Known):
        return dimensions.value
    made = found.shape.dimensions if found is not None else None
    return made or kb.spec.embedding.dimensions


# ------------------------------------------------------------------------------------------------- what differs


def _taken(wanted: Collection, state: StoreState) -> str:
    """Say which name belongs to somebody else, and what can be done about it; empty when none does."""
    way_out = "rename or delete it, or give the KnowledgeBase another name"
    if wanted.name in state.aliases:
        return f"{wanted.name} is an alias of somebody else's: {way_out}"
    if wanted.alias in state.collections:
        return f"{wanted.alias} is a collection of somebody else's, it has to be our alias: {way_out}"
    found = state.collections.get(wanted.name)
    if found is not None and (found.owner is None or _place(found.owner) != _place(wanted.owner)):
        return f"collection {wanted.name} exists and {_whose(found.owner)}: {way_out}"
    target = state.aliases.get(wanted.alias)
    behind = state.collections.get(target) if target is not None else None
    if target is not None and (behind is None or behind.owner is None or not _same(behind.owner, wanted.owner)):
        whose = _whose(behind.owner if behind is not None else None)
        return f"alias {wanted.alias} stands for {target}, which {whose}: {way_out}"
    return ""


def _whose(owner: Owner | None) -> str:
    if owner is None:
        return "is not ours by its metadata"
    return f"belongs to KnowledgeBase {owner.namespace}/{owner.knowledge_base} (generation {owner.generation})"


def _difference(wanted: Collection, found: ObservedCollection) -> str:
    """Say what cannot be changed in place; empty when nothing differs."""
    shape, made = wanted.shape, found.shape
    told = []
    if made.dimensions != shape.dimensions:
        told.append(f"vectors of length {made.dimensions or 'none'}, not {shape.dimensions}")
    if made.dimensions is not None and made.distance != shape.distance:
        told.append(f"distance {made.distance}, not {shape.distance}")
    if made.sparse != shape.sparse:
        told.append("no vector for terms" if shape.sparse else "a vector for terms although spec.sparse is off")
    if made.custom_sharding != shape.custom_sharding:
        told.append("shards that are not made by key")
    if found.owner is not None and found.owner.index_identity != wanted.owner.index_identity:
        told.append("an index made for other settings of embedding, sparse, chunking or partitioning.shardBy")
    if not told:
        return ""
    way_out = "undo the change of the spec, or delete the collection: it is made anew and filled from the log"
    return f"{wanted.name} has {', '.join(told)}: {way_out}"


def _fits(wanted: Collection, found: ObservedCollection) -> bool:
    """Say whether partitions can be placed: not in a collection that was made for something else."""
    return not _difference(wanted, found)


def _mended(wanted: Collection, found: ObservedCollection) -> list[Step]:
    steps: list[Step] = []
    if found.shape == wanted.shape and found.settings != wanted.settings:
        steps.append(ChangeSettings(wanted.name, wanted.shape, wanted.settings))
    if missing := _indexes(wanted, found):
        steps.append(CreateIndexes(wanted.name, missing))
    return steps


def _indexes(wanted: Collection, found: ObservedCollection) -> tuple[Index, ...]:
    there = frozenset(found.indexes)
    return tuple(each for each in wanted.indexes if each not in there)


def _alias(wanted: Collection, state: StoreState, *, activate: bool) -> tuple[Step, ...]:
    before = state.aliases.get(wanted.alias)
    if before == wanted.name or (before is not None and not activate):
        return ()
    return (SetAlias(wanted.alias, wanted.name, before),)


def _dark(found: ObservedCollection) -> str:
    """Say which points cannot be reached; empty when all can."""
    if found.status == "red":
        return f"Qdrant reports {found.name} as red: its log says why"
    dead = [key for key, shards in found.keys.items() if any(_is_dead(shard) for shard in shards)]
    if not dead:
        return ""
    more = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
    return f"no copy of the shards of {min(dead)}{more} answers: a node of Qdrant is away; start it again"


def _is_dead(shard: ObservedShard) -> bool:
    return all(replica.state == DEAD for replica in shard.replicas)


def _left(kb: KnowledgeBase, wanted: Collection, found: ObservedCollection, state: StoreState) -> str:
    """Say what is still to be done; empty when nothing is."""
    if found.settings != wanted.settings:
        fields = [name for name in _FIELDS if getattr(found.settings, name) != getattr(wanted.settings, name)]
        return f"settings of {wanted.name} are being put right: {', '.join(_FIELDS[name] for name in fields)}"
    if missing := _indexes(wanted, found):
        return f"indexes of {wanted.name} are being made: {', '.join(each.field for each in missing)}"
    if words := partitions.left(kb, found):
        return words
    if wanted.alias not in state.aliases:
        return f"the alias {wanted.alias} does not exist yet"
    return replicas.left(wanted, found)


_FIELDS = {
    "m": "hnsw.m",
    "ef_construct": "hnsw.efConstruct",
    "links": "links among a tenant's points",
    "quantization": "quantization",
    "on_disk": "onDisk",
    "replication_factor": "replicationFactor",
    "write_consistency_factor": "writeConsistencyFactor",
    "idf": "weights of terms",
    "strict": "strict mode",
}


# ------------------------------------------------------------------------------------------------------ shared


def _too_many_keys(kb: KnowledgeBase) -> str:
    keys = len(contract.shard_keys(kb)) - 1
    if keys <= contract.MAX_SHARD_KEYS:
        return ""
    return (
        f"spec.partitioning asks for {keys} shard keys, a collection takes {contract.MAX_SHARD_KEYS}: "
        "dedicate fewer tenants, or set shardBy to Tenant; nothing is changed meanwhile"
    )


def _place(owner: Owner) -> Owner:
    return replace(owner, index_identity="")


def _same(one: Owner, other: Owner) -> bool:
    return (one.namespace, one.knowledge_base) == (other.namespace, other.knowledge_base)


def _is_of(kb: KnowledgeBase, owner: Owner | None) -> bool:
    return owner is not None and (owner.namespace, owner.knowledge_base) == (kb.namespace, kb.name)


def _failed(why: Unknown) -> Verdict:
    match why:
        case Unauthorised(reason):
            return _verdict("False", Reason.CREDENTIALS_REJECTED, f"{reason}; check spec.vectorStore.apiKeySecretRef")
        case Denied(reason):
            message = f"{reason}; the operator needs a key that may manage collections, aliases and shard keys"
            return _verdict("False", Reason.ACCESS_DENIED, message)
        case Unreachable(reason):
            return _verdict("False", Reason.VECTOR_STORE_UNREACHABLE, f"{reason}; it is asked again")
        case Rejected(reason):
            return _verdict("False", Reason.APPLY_REFUSED, reason)
        case Unknown(reason):
            return _verdict("Unknown", Reason.WAITING, reason)


def _verdict(status: Truth, reason: Reason, message: str) -> Verdict:
    return Verdict(ASPECT, status, reason, message)
