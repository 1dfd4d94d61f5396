"""Which index generation of a knowledge base answers and which is being built, in one process.

The same rule as on a cluster: what changes vectors (the index identity) starts a new generation beside
the active one, which goes on answering until the new one is complete.
"""

from __future__ import annotations

from dataclasses import dataclass

from lectern_contract import names
from lectern_contract.generation import index_identity
from lectern_contract.resources import KnowledgeBase
from lectern_runtime.ports import CollectionSpec, VectorStore


@dataclass(frozen=True)
class Generation:
    """One index generation: its number, and whether it already answers."""

    number: int
    collection: str
    active: bool


async def choose(kb: KnowledgeBase, store: VectorStore) -> Generation:
    """The generation that workers must fill, its collection made when it is absent.

    The first generation answers from the start; a later one once `activate` was called.
    """
    alias = names.alias(kb.namespace, kb.name)
    identity = index_identity(kb.spec)
    current = await store.resolve_alias(alias)
    info = await store.describe(current) if current is not None else None
    if current is None or info is None:
        generation = Generation(1, names.collection(kb.namespace, kb.name, 1), active=True)
    elif info.spec.identity == identity:
        return Generation(_number(current), current, active=True)
    else:
        number = _number(current) + 1
        generation = Generation(number, names.collection(kb.namespace, kb.name, number), active=False)
    await _make(kb, store, generation, identity)
    if generation.active:
        await store.point_alias(alias, generation.collection)
    return generation


async def activate(kb: KnowledgeBase, store: VectorStore, generation: Generation) -> Generation:
    """Let a complete generation answer and drop those before the `spec.generations.retain` last ones."""
    await store.point_alias(names.alias(kb.namespace, kb.name), generation.collection)
    oldest = generation.number - kb.spec.generations.retain - 1
    while oldest >= 1:
        collection = names.collection(kb.namespace, kb.name, oldest)
        if await store.describe(collection) is None:
            break
        await store.drop_collection(collection)
        oldest -= 1
    return Generation(generation.number, generation.collection, active=True)


async def _make(kb: KnowledgeBase, store: VectorStore, generation: Generation, identity: str) -> None:
    """Make the collection; a half-built one of another identity is dropped first."""
    stale = await store.describe(generation.collection)
    if stale is not None and stale.spec.identity != identity:
        await store.drop_collection(generation.collection)
    await store.ensure_collection(
        CollectionSpec(
            name=generation.collection,
            dimensions=kb.spec.embedding.dimensions,
            sparse=kb.spec.sparse.enabled,
            identity=identity,
        )
    )


def _number(collection: str) -> int:
    return int(collection.rpartition("-g")[2])
