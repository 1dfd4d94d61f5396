"""The double of Qdrant does what the operator relies on, and refuses states that cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lectern_contract.collection import Index
from lectern_contract.resources import KnowledgeBase
from lectern_operator.clients.qdrant import StoreServer
from lectern_operator_tests.fake_vector_store import FakeServer, FakeStores, Impossible
from lectern_operator_tests.store_contract import StoreContract
from lectern_operator_tests.store_stage import Stores

OPEN, CLOSED = "http://qdrant:6333", "http://qdrant:6334"


class FakeStage:
    """Other people at the double; a second address demands an API key."""

    def __init__(self) -> None:
        self.fake = FakeServer()
        guarded = FakeServer()
        guarded.api_key = "right"
        self.stores: Stores = FakeStores({OPEN: self.fake, CLOSED: guarded})
        self.server = StoreServer(OPEN)

    @property
    def refused(self) -> StoreServer:
        return StoreServer(CLOSED, "wrong-one")

    async def make(self, name: str) -> None:
        self.fake.make(name)

    async def drop(self, name: str) -> None:
        self.fake.drop(name)

    async def exists(self, name: str) -> bool:
        return name in self.fake.collections

    async def tune(self, name: str) -> None:
        self.fake.change(name, m=4, links=4, quantization="Binary not pinned in memory", strict=False)

    async def put_index(self, name: str, index: Index) -> None:
        self.fake.put_index(name, index)

    async def drop_index(self, name: str, field: str) -> None:
        self.fake.drop_index(name, field)

    async def add_key(self, name: str, key: str) -> None:
        self.fake.add_key(name, key)

    async def drop_key(self, name: str, key: str) -> None:
        self.fake.drop_key(name, key)

    async def point_alias(self, alias: str, name: str | None) -> None:
        self.fake.point_alias(alias, name)

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
        by = kb.spec.partitioning.shard_by
        self.fake.write(name, tenant, level, documents, by=by, source=source, failure=failure)

    async def points(self, name: str, key: str) -> int:
        return len(self.fake.points[name, key])

    async def arrive(self) -> None:
        self.fake.finish()


@pytest.fixture
def stage() -> FakeStage:
    return FakeStage()


class TestFakeVectorStore(StoreContract):
    pass


def test_states_that_cannot_be_are_refused() -> None:
    server = FakeServer()
    server.make("c")
    server.add_key("c", "k")
    refused: list[Callable[[], object]] = [
        lambda: FakeServer(peers=0),
        lambda: server.make("c"),
        lambda: server.drop("never-made"),
        lambda: server.add_key("c", "k"),
        lambda: server.add_key("c", "empty", shards=0),
        lambda: server.drop_key("c", "never-made"),
        lambda: server.drop_index("c", "never-made"),
        lambda: server.point_alias("a", "never-made"),
        lambda: server.point_alias("c", "c"),
        lambda: server.write("c", "acme", "public", 1, by="Tenant"),
    ]
    for act in refused:
        with pytest.raises(Impossible):
            act()
