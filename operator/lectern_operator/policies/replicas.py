"""How many copies each shard of a collection has, and what is done where there are fewer than the spec says.

Qdrant makes copies when a shard is made and never later: a raised `replicationFactor`, a promoted partition (which
begins with one copy) and a node that is gone for good leave too few. Copies are added one at a time; none is dropped.
"""

from __future__ import annotations

from collections import Counter

from lectern_contract.collection import Collection
from lectern_operator.facts.vector_store import ACTIVE, CopyShard, ObservedCollection, ObservedShard, Step


def plan(wanted: Collection, found: ObservedCollection) -> tuple[Step, ...]:
    """Return the step that adds one copy; none while points are on their way, or where no node has room for one."""
    if any(shard.busy for shard in _shards(found)):
        return ()
    used = Counter(replica.peer for shard in _shards(found) for replica in shard.replicas)
    for shard in _short(wanted, found):
        free = set(found.peers) - {replica.peer for replica in shard.replicas}
        if free:
            source = min(replica.peer for replica in shard.replicas if replica.state == ACTIVE)
            return (CopyShard(found.name, shard.id, source, min(free, key=lambda peer: (used[peer], peer))),)
    return ()


def fault(wanted: Collection, found: ObservedCollection) -> str:
    """Say what cannot be mended without more nodes; empty when nothing is in the way."""
    copies = wanted.settings.replication_factor
    if not found.peers or len(found.peers) >= copies or not _short(wanted, found):
        return ""
    return (
        f"spec.vectorStore.replicationFactor is {copies}, Qdrant has {len(found.peers)} nodes: "
        "each shard has a copy on each of them; add nodes, or lower replicationFactor"
    )


def left(wanted: Collection, found: ObservedCollection) -> str:
    """Say what is still to be done; empty when nothing is."""
    short = _short(wanted, found) if found.peers else []
    return f"{len(short)} shards of {found.name} get more copies" if short else ""


def _short(wanted: Collection, found: ObservedCollection) -> list[ObservedShard]:
    """Return the shards that answer and have fewer copies than the spec says."""
    copies = wanted.settings.replication_factor
    return [shard for shard in _shards(found) if shard.active and len(shard.replicas) < copies]


def _shards(found: ObservedCollection) -> list[ObservedShard]:
    return [shard for key in sorted(found.keys) for shard in found.keys[key]]
