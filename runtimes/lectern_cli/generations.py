"""Which index generation of a knowledge base answers and which is being built, in one process.

The same rule as on a cluster: what changes vectors (the index identity) starts a new generation beside
the active one, which goes on answering until the new one is complete. `embedded` asks at each start and
switches when everything that was published has been worked on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lectern_contract import names
from lectern_contract.errors import DataDirectoryError
from lectern_contract.generation import index_identity
from lectern_contract.names import Topic
from lectern_contract.resources import KnowledgeBase
from lectern_runtime.ports import CollectionSpec, Log, VectorStore

MOST_NUMBERS = 10_000
"""More numbers than this are never tried: a directory with so many has something else wrong with it."""
_NEVER_BUILT = 0


@dataclass(frozen=True)
class Generation:
    """The index generation that workers fill, and the number of the one that answers."""

    number: int
    collection: str
    answering: int

    @property
    def active(self) -> bool:
        """Whether the generation that is filled is the one that answers."""
        return self.number == self.answering


async def choose(kb: KnowledgeBase, *, store: VectorStore, log: Log) -> Generation:
    """The generation that workers must fill, its collection made when it is absent; abandoned builds are dropped.

    The first generation answers from the start; a later one once `activate` was called. The topics must exist.
    Raises `DataDirectoryError` when no number is left.
    """
    alias, identity = names.alias(kb.namespace, kb.name), index_identity(kb.spec)
    behind = await store.resolve_alias(alias)
    info = await store.describe(behind) if behind is not None else None
    answering = _number(info.spec.name) if info is not None else None
    builds, unused = await _after(kb, answering or 0, store=store, log=log)
    if answering is not None and info is not None and info.spec.identity == identity:
        number = answering
    else:
        number = next((each for each, built in builds.items() if built == identity), unused)
    for abandoned in builds.keys() - {number}:
        await store.drop_collection(_collection(kb, abandoned))
    collection = _collection(kb, number)
    await store.ensure_collection(
        CollectionSpec(
            name=collection,
            dimensions=kb.spec.embedding.dimensions,
            sparse=kb.spec.sparse.enabled,
            identity=identity,
        )
    )
    if answering is None:
        await store.point_alias(alias, collection)
    return Generation(number, collection, number if answering is None else answering)


async def activate(kb: KnowledgeBase, store: VectorStore, generation: Generation) -> Generation:
    """Let a complete generation answer; of the earlier ones the newest `spec.generations.retain` stay."""
    await store.point_alias(names.alias(kb.namespace, kb.name), generation.collection)
    earlier = [
        number for number in range(1, generation.number) if await store.describe(_collection(kb, number)) is not None
    ]
    for number in earlier[: max(0, len(earlier) - kb.spec.generations.retain)]:
        await store.drop_collection(_collection(kb, number))
    return replace(generation, answering=generation.number)


async def _after(kb: KnowledgeBase, newest: int, *, store: VectorStore, log: Log) -> tuple[dict[int, str], int]:
    """The collections after number `newest` by their identity, and the first number that nobody ever worked for.

    A number whose collection was dropped is not used again: its consumer group goes on where it stopped, so that
    a collection made anew would never get the documents before that place.
    """
    builds: dict[int, str] = {}
    topic = names.topic(kb.namespace, kb.name, Topic.DOCUMENTS)
    everything = await log.lag(topic, group=names.consumer_group(kb.namespace, kb.name, _NEVER_BUILT))
    for number in range(newest + 1, newest + MOST_NUMBERS):
        info = await store.describe(_collection(kb, number))
        if info is not None:
            builds[number] = info.spec.identity
        elif await log.lag(topic, group=names.consumer_group(kb.namespace, kb.name, number)) == everything:
            return builds, number
    raise DataDirectoryError(
        f"KnowledgeBase/{kb.name}: {MOST_NUMBERS} index generations were begun in this data directory; "
        "choose another --data-dir and ingest again"
    )


def _collection(kb: KnowledgeBase, number: int) -> str:
    return names.collection(kb.namespace, kb.name, number)


def _number(collection: str) -> int:
    return int(collection.rpartition(".g")[2])
