"""A stage for tests of what the operator asks of a Qdrant server: who asks it, who else is there, and how it settles.

`store_contract` plays on it; `test_collection_fake` and `e2e/operator_tests/test_vector_store.py` build one each.
"""

from __future__ import annotations

import uuid
from typing import Protocol

from lectern_contract import names
from lectern_contract.collection import Index
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import Reason
from lectern_contract.resources.status import DocumentCounts, PartitionState, SourceDocuments
from lectern_operator.clients.qdrant import StoreServer
from lectern_operator.facts import Fact, Known
from lectern_operator.facts.vector_store import (
    ObservedCollection,
    Step,
    StoreState,
    Subject,
)
from lectern_operator.policies import collection as policy
from lectern_operator.policies import partitions
from lectern_operator_tests import worlds

DIMENSIONS = Known(384)
MAX_PASSES = 60
ACME = {"name": "acme", "dedicated": True}


class Stores(Protocol):
    """The client of the operator."""

    async def look(self, server: StoreServer, subject: Subject) -> Fact[StoreState]:
        """Return what is there of `subject`."""
        ...

    async def documents(self, server: StoreServer, found: ObservedCollection) -> Fact[DocumentCounts]:
        """Return how many documents a collection has."""
        ...

    async def by_source(self, server: StoreServer, found: ObservedCollection) -> Fact[tuple[SourceDocuments, ...]]:
        """Return how many documents each source has."""
        ...

    async def perform(self, server: StoreServer, step: Step) -> Fact[None]:
        """Take `step`."""
        ...


class Stage(Protocol):
    """A server, who asks it, and who else is there."""

    stores: Stores
    server: StoreServer

    @property
    def refused(self) -> StoreServer:
        """A server that asks for another API key."""
        ...

    async def make(self, name: str) -> None:
        """Make a collection as somebody else would."""
        ...

    async def drop(self, name: str) -> None:
        """Delete a collection."""
        ...

    async def exists(self, name: str) -> bool:
        """Say whether there is such a collection."""
        ...

    async def tune(self, name: str) -> None:
        """Set `m` of the dense vector to 4, quantise the collection to one bit, and allow every filter."""
        ...

    async def put_index(self, name: str, index: Index) -> None:
        """Make or replace an index."""
        ...

    async def drop_index(self, name: str, field: str) -> None:
        """Delete an index."""
        ...

    async def add_key(self, name: str, key: str) -> None:
        """Make a shard key that answers."""
        ...

    async def drop_key(self, name: str, key: str) -> None:
        """Delete a shard key with its points."""
        ...

    async def point_alias(self, alias: str, name: str | None) -> None:
        """Let an alias stand for a collection, or delete it."""
        ...

    async def write(
        self,
        name: str,
        kb: KnowledgeBase,
        tenant: str,
        level: str,
        documents: int,
        *,
        source: str = "guides",
        failure: str = "",
    ) -> None:
        """Write documents of one chunk each, as a worker does: to the partition's key, else to the fallback.

        With a `failure` they are given up: a record alone.
        """
        ...

    async def points(self, name: str, key: str) -> int:
        """Return how many points lie under a key."""
        ...

    async def arrive(self) -> None:
        """Wait until copies that were begun are complete."""
        ...


def knowledge_base(**paths: object) -> KnowledgeBase:
    """Return a knowledge base of a name that no other test has."""
    return renamed(worlds.knowledge_base(**paths), f"docs-{uuid.uuid4().hex[:8]}")


def renamed(kb: KnowledgeBase, name: str) -> KnowledgeBase:
    """Return `kb` under another name."""
    return kb.model_copy(update={"metadata": kb.metadata.model_copy(update={"name": name})})


def altered(kb: KnowledgeBase, **paths: object) -> KnowledgeBase:
    """Return `kb` with another spec."""
    return renamed(worlds.knowledge_base(**paths), kb.name)


def first(kb: KnowledgeBase) -> str:
    """Return the name of the collection of generation 1."""
    return names.collection(kb.namespace, kb.name, 1)


def alias(kb: KnowledgeBase) -> str:
    """Return the alias."""
    return names.alias(kb.namespace, kb.name)


async def look(stage: Stage, kb: KnowledgeBase) -> StoreState:
    """Return what is seen of `kb`."""
    found = await stage.stores.look(stage.server, policy.subject(kb))
    assert isinstance(found, Known), found
    return found.value


async def planned(stage: Stage, kb: KnowledgeBase) -> policy.StorePlan:
    """Return what is to be done after a look."""
    return policy.plan(kb, generation=1, dimensions=DIMENSIONS, store=Known(await look(stage, kb)))


async def settle(stage: Stage, kb: KnowledgeBase, *, times: int = 1, one_by_one: bool = False) -> list[Step]:
    """Look, plan and take steps until nothing is left, and return them.

    Each step is taken `times` times; `one_by_one` looks again after each, as after a crash.
    """
    taken: list[Step] = []
    for _ in range(MAX_PASSES):
        plan = await planned(stage, kb)
        if not plan.steps and not plan.more:
            assert await planned(stage, kb) == policy.StorePlan()
            return taken
        for step in plan.steps[:1] if one_by_one else plan.steps:
            for _ in range(times):
                assert await stage.stores.perform(stage.server, step) == Known(None)
            taken.append(step)
        await stage.arrive()
    raise AssertionError(f"not settled after {MAX_PASSES} passes: {taken[-5:]}")


async def judged(stage: Stage, kb: KnowledgeBase) -> tuple[str, Reason, str]:
    """Return what the status says."""
    found = policy.verdict(kb, generation=1, dimensions=DIMENSIONS, store=Known(await look(stage, kb)))
    return found.status, found.reason, found.message


async def placements(stage: Stage, kb: KnowledgeBase) -> tuple[PartitionState, ...]:
    """Return the partitions in the status."""
    return partitions.states(kb, name=first(kb), store=Known(await look(stage, kb)))[0]
