"""The runtimes' store on a Qdrant server keeps the contract of every vector store, in collections that the operator
made, wherever partitions lie, and says what is wrong when the server or its credentials are.

The server is the one that QDRANT_URL names, or the double (see `e2e/testbed/qdrant_double` for what it cannot show).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from qdrant_client import models

from e2e.adapter_tests.operated import OperatedStore
from e2e.testbed.qdrant_double import QdrantDouble, qdrant_double
from lectern_contract.collection import FALLBACK_SHARD_KEY, ShardBy, ShardKey
from lectern_contract.settings import QdrantStore
from lectern_operator.facts.vector_store import CopyPartition, CreateShardKeys, PreparePartition
from lectern_runtime.adapters.qdrant import QdrantVectorStore
from lectern_runtime.adapters.qdrant_connection import QdrantConnection
from lectern_runtime.errors import CollectionMismatch, CollectionUnknown, StoreError
from lectern_runtime_tests.contracts import corpus
from lectern_runtime_tests.contracts.vector_scope_contract import OTHER, SECRET, TEXTS, VectorScopeContract, found
from lectern_runtime_tests.contracts.vector_store_contract import NAME, SPEC, MakeStore, VectorStoreContract
from lectern_runtime_tests.contracts.vector_version_contract import (
    DiesBeforeItReads,
    VectorVersionContract,
    chunks_of,
    hides_and_removes_what_came_late,
    seen,
)

API_KEY = "right-one"
MOVED_SECONDS = 30.0
Place = tuple[str, str | None]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Where the server is, and the key that it asks for."""
    if url := os.environ.get("QDRANT_URL"):
        yield url, os.environ.get("QDRANT_API_KEY")
        return
    with qdrant_double(tmp_path_factory.mktemp("qdrant-store"), API_KEY) as double:
        yield double.url, double.api_key


def settings_of(place: Place, directory: Path, shard_by: ShardBy = "TenantAndAccessLevel") -> QdrantStore:
    url, key = place
    file = directory / "api-key"
    if key is not None:
        file.write_text(f"{key}\n")
    return QdrantStore(url=url, shard_by=shard_by, api_key_file=str(file) if key is not None else None, ca_file=None)


def maker(place: Place, directory: Path) -> MakeStore:
    async def make() -> OperatedStore:
        return OperatedStore(*place, settings_of(place, directory))

    return make


class TestQdrantStore(VectorStoreContract, VectorScopeContract, VectorVersionContract):
    @pytest.fixture
    def make_store(self, place: Place, tmp_path: Path) -> MakeStore:
        return maker(place, tmp_path)


class TestQdrantStoreWithShardKeys(VectorScopeContract):
    """The same where the partitions have shards of their own, beside others in the fallback shard."""

    @pytest.fixture
    async def store(self, place: Place, tmp_path: Path) -> AsyncIterator[OperatedStore]:
        store = KeyedStore(*place, settings_of(place, tmp_path))
        await store.drop_collection(NAME)
        await store.ensure_collection(SPEC)
        yield store
        await store.close()


class KeyedStore(OperatedStore):
    """Each new collection gets keys for the partition of most tests and for another tenant's."""

    async def ensure_collection(self, spec: object) -> None:
        await super().ensure_collection(SPEC)
        partitions = (corpus.PARTITION, OTHER)
        keys = tuple(ShardKey.of("TenantAndAccessLevel", each.tenant, each.access_level) for each in partitions)
        await self.perform(CreateShardKeys(SPEC.name, keys))


@pytest.fixture
async def store(place: Place, tmp_path: Path) -> AsyncIterator[OperatedStore]:
    opened = OperatedStore(*place, settings_of(place, tmp_path))
    await opened.drop_collection(NAME)
    await opened.ensure_collection(SPEC)
    yield opened
    await opened.close()


async def test_what_a_dead_writer_left_is_never_found_and_can_be_removed(
    store: OperatedStore, place: Place, tmp_path: Path
) -> None:
    died = DiesBeforeItReads()
    dying = QdrantVectorStore.open(settings_of(place, tmp_path), failpoint=died)
    await hides_and_removes_what_came_late(dying, died)
    await dying.close()


async def counts(store: OperatedStore) -> dict[str, int]:
    keys = {str(each.shard_key) for each in (await store.qdrant.collection_cluster_info(NAME)).local_shards}
    return {key: (await store.qdrant.count(NAME, shard_key_selector=key)).count for key in sorted(keys)}


@pytest.mark.parametrize(
    ("shard_by", "key", "expected"),
    [
        ("TenantAndAccessLevel", "acme/public", {FALLBACK_SHARD_KEY: 4, "acme/public": 4}),
        ("Tenant", "acme", {FALLBACK_SHARD_KEY: 0, "acme": 8}),
    ],
)
async def test_points_lie_where_their_partition_has_its_key_and_are_found_together(
    store: OperatedStore, place: Place, tmp_path: Path, shard_by: ShardBy, key: str, expected: dict[str, int]
) -> None:
    tenant, _, level = key.partition("/")
    await store.perform(CreateShardKeys(NAME, (ShardKey(key, tenant, level or None),)))
    settings = settings_of(place, tmp_path, shard_by)
    runtime = QdrantVectorStore(settings, QdrantConnection(settings))
    await corpus.put(runtime, NAME, "open", TEXTS)
    await corpus.put(runtime, NAME, "hidden", TEXTS, partition=SECRET)
    assert await counts(store) == expected
    assert await found(runtime, corpus.reader()) == {("acme", "public", "open"), ("acme", "secret", "hidden")}
    listed = await runtime.list_records(NAME, corpus.reader(), after=None, limit=9)
    assert [each.document_id for each in listed] == sorted([corpus.doc("open"), corpus.doc("hidden", SECRET)])
    await runtime.close()


async def test_a_partition_that_moves_is_found_whole_and_once_all_the_while(store: OperatedStore) -> None:
    key = ShardKey.of("TenantAndAccessLevel", corpus.PARTITION.tenant, corpus.PARTITION.access_level)
    texts = [f"alpha {number}" for number in range(20)]
    await corpus.put(store, NAME, "a", texts, 1)
    await store.perform(PreparePartition(NAME, key))
    await store.perform(CopyPartition(NAME, key))
    looks = 0
    async with asyncio.timeout(MOVED_SECONDS):
        while not await answers(store, key.key):
            assert await seen(store, at_rest=False) == chunks_of("a", 1, texts)
            looks += 1
    assert looks > 0
    assert (await counts(store))[FALLBACK_SHARD_KEY] > 0, "the operator deletes the copies later"
    assert await seen(store, at_rest=False) == chunks_of("a", 1, texts)
    await corpus.put(store, NAME, "a", ["alpha new"], 2)
    assert await seen(store, at_rest=False) == chunks_of("a", 2, ["alpha new"])
    assert len(await store.list_records(NAME, corpus.reader(), after=None, limit=9)) == 1


async def answers(store: OperatedStore, key: str) -> bool:
    shards = (await store.qdrant.collection_cluster_info(NAME)).local_shards
    return all(each.state is models.ReplicaState.ACTIVE for each in shards if each.shard_key == key)


async def test_a_collection_of_nobody_is_no_collection_of_ours(store: OperatedStore) -> None:
    await store.drop_collection(NAME)
    await store.qdrant.create_collection(NAME, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    with pytest.raises(CollectionMismatch, match="not made by Lectern"):
        await QdrantVectorStore.ensure_collection(store, SPEC)
    await store.drop_collection(NAME)


async def test_a_runtime_waits_for_its_collection_and_makes_and_removes_none(
    place: Place, store: OperatedStore, tmp_path: Path
) -> None:
    runtime = QdrantVectorStore.open(settings_of(place, tmp_path))
    calls: list[Callable[[], Awaitable[None]]] = [
        lambda: runtime.drop_collection(NAME),
        lambda: runtime.point_alias("test.kb", NAME),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="operator"):
            await call()
    await runtime.ensure_collection(SPEC)
    await store.drop_collection(NAME)
    with pytest.raises(CollectionUnknown, match=NAME):
        await runtime.ensure_collection(SPEC)
    await runtime.close()


async def test_a_closed_store_says_so(place: Place, tmp_path: Path) -> None:
    runtime = QdrantVectorStore.open(settings_of(place, tmp_path))
    await runtime.close()
    await runtime.close()
    with pytest.raises(StoreError, match="was closed"):
        await runtime.aliases()


# --------------------------------------------------------------------------------------- the server's own faults


@pytest.fixture
def own(tmp_path: Path) -> Iterator[QdrantDouble]:
    """A server of the test's own, to be stopped and frozen."""
    with qdrant_double(tmp_path / "own", API_KEY) as double:
        yield double


async def test_a_key_that_is_put_right_is_taken_without_a_restart(own: QdrantDouble, tmp_path: Path) -> None:
    settings = settings_of((own.url, "wrong-one"), tmp_path)
    runtime = QdrantVectorStore.open(settings)
    with pytest.raises(StoreError, match="refuses the API key") as caught:
        await runtime.aliases()
    assert "wrong-one" not in str(caught.value)
    (tmp_path / "new").write_text(API_KEY)
    (tmp_path / "new").replace(tmp_path / "api-key")
    assert await runtime.aliases() == {}
    (tmp_path / "api-key").unlink()
    with pytest.raises(StoreError, match="api-key: No such file"):
        await runtime.aliases()
    await runtime.close()


async def test_a_server_that_is_away_or_silent_is_said_within_a_bound_and_found_again(
    own: QdrantDouble, tmp_path: Path
) -> None:
    settings = settings_of((own.url, API_KEY), tmp_path)
    runtime = QdrantVectorStore(settings, QdrantConnection(settings, read_seconds=1.0, write_seconds=2.0))
    assert await runtime.aliases() == {}
    own.pause()
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(StoreError, match="keeps silent"):
        await runtime.aliases()
    assert loop.time() - began < 2.5
    own.resume()
    assert await runtime.aliases() == {}
    own.stop()
    with pytest.raises(StoreError, match="cannot be reached"):
        await runtime.aliases()
    own.start()
    assert await runtime.aliases() == {}
    await runtime.close()


async def test_writes_that_a_kill_cut_off_are_made_whole_by_the_next_delivery(
    own: QdrantDouble, tmp_path: Path
) -> None:
    store = OperatedStore(own.url, API_KEY, settings_of((own.url, API_KEY), tmp_path))
    await store.ensure_collection(SPEC)
    texts = [f"alpha {number}" for number in range(600)]
    writing = asyncio.create_task(corpus.put(store, NAME, "a", texts, 1))
    while not writing.done() and (await store.qdrant.count(NAME)).count == 0:
        await asyncio.sleep(0)
    own.kill()
    with pytest.raises(StoreError):
        await writing
    own.start()
    assert not (await corpus.put(store, NAME, "a", texts, 1)).superseded
    assert await seen(store) == chunks_of("a", 1, texts)
    await store.close()
