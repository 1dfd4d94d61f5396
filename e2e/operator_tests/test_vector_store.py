"""The operator's client of Qdrant over HTTP: collections, promotion, credentials, a server that is silent or killed.

The server is the one that QDRANT_URL names, or the double, which is Qdrant's engine behind its own REST interface (see
`e2e/testbed/qdrant_double` for what that does not show).
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from qdrant_client import AsyncQdrantClient, models

from e2e.testbed import certificates
from e2e.testbed.qdrant_double import QdrantDouble, qdrant_double
from lectern_contract import collection as contract
from lectern_contract.collection import FALLBACK_SHARD_KEY, Index, ShardKey, shard_key
from lectern_contract.ids import DocumentId, chunk_id
from lectern_contract.payload import DocumentState, Field, PayloadKind
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.status import DocumentCounts
from lectern_operator.clients.qdrant import LOOK_SECONDS, StoreServer, open_stores
from lectern_operator.facts import Known
from lectern_operator.facts.vector_store import DeleteCopies, Rejected, StoreState, Unreachable
from lectern_operator.policies import collection as policy
from lectern_operator_tests import worlds
from lectern_operator_tests.store_contract import StoreContract
from lectern_operator_tests.store_stage import (
    DIMENSIONS,
    Stores,
    altered,
    first,
    judged,
    knowledge_base,
    look,
    settle,
)

ARRIVES_SECONDS = 20.0
API_KEY = "right-one"


def document(
    tenant: str,
    level: str,
    *,
    version: int = 1,
    name: str | None = None,
    source: str = "guides",
    failure: str = "",
) -> list[models.PointStruct]:
    """Return the record of a document and its only chunk; one that failed has no chunk."""
    name = name or str(uuid.uuid4())
    payload = {
        Field.TENANT: tenant,
        Field.ACCESS_LEVEL: level,
        Field.DOCUMENT_ID: name,
        Field.VERSION: version,
        Field.SOURCE: source,
        Field.STATE: (DocumentState.FAILED if failure else DocumentState.INDEXED).value,
        "reason": failure,
    }
    points = [(name, PayloadKind.RECORD), (chunk_id(DocumentId(name), 0), PayloadKind.CHUNK)]
    return [
        models.PointStruct(id=id_, vector={}, payload={**payload, Field.KIND: kind.value})
        for id_, kind in (points[:1] if failure else points)
    ]


class HttpStage:
    """The server over HTTP, the operator's client, and somebody else with a client of their own."""

    def __init__(self, url: str, api_key: str | None, stores: Stores) -> None:
        self.stores: Stores = stores
        self.server = StoreServer(url, api_key)
        headers = {"api-key": api_key} if api_key else None
        self.qdrant = AsyncQdrantClient(url=url, headers=headers, timeout=30, check_compatibility=False)
        self._made: set[str] = set()

    @property
    def refused(self) -> StoreServer:
        return StoreServer(self.server.url, "wrong-one")

    async def make(self, name: str) -> None:
        vectors = {"dense": models.VectorParams(size=4, distance=models.Distance.DOT)}
        sharding = models.ShardingMethod.CUSTOM
        await self.qdrant.create_collection(name, vectors_config=vectors, sharding_method=sharding)

    async def drop(self, name: str) -> None:
        await self.qdrant.delete_collection(name)

    async def exists(self, name: str) -> bool:
        return await self.qdrant.collection_exists(name)

    async def tune(self, name: str) -> None:
        vector = models.VectorParamsDiff(hnsw_config=models.HnswConfigDiff(m=4, payload_m=4))
        await self.qdrant.update_collection(
            name,
            vectors_config={"dense": vector},
            quantization_config=models.BinaryQuantization(binary=models.BinaryQuantizationConfig()),
            strict_mode_config=models.StrictModeConfig(unindexed_filtering_retrieve=True),
        )

    async def put_index(self, name: str, index: Index) -> None:
        schema = models.PayloadSchemaType(index.type)
        await self.qdrant.create_payload_index(name, index.field, field_schema=schema, wait=True)

    async def drop_index(self, name: str, field: str) -> None:
        await self.qdrant.delete_payload_index(name, field, wait=True)

    async def add_key(self, name: str, key: str) -> None:
        await self.qdrant.create_shard_key(name, key)

    async def drop_key(self, name: str, key: str) -> None:
        await self.qdrant.delete_shard_key(name, key)

    async def point_alias(self, alias: str, name: str | None) -> None:
        gone = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
        operations: list[models.CreateAliasOperation | models.DeleteAliasOperation] = [gone]
        if name is not None:
            made = models.CreateAlias(alias_name=alias, collection_name=name)
            operations.append(models.CreateAliasOperation(create_alias=made))
        await self.qdrant.update_collection_aliases(operations)

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
        target = shard_key(kb.spec.partitioning.shard_by, tenant, level)
        await self.qdrant.upsert(
            name,
            [point for _ in range(documents) for point in document(tenant, level, source=source, failure=failure)],
            shard_key_selector=models.ShardKeyWithFallback(target=target, fallback=FALLBACK_SHARD_KEY),
            wait=True,
        )

    async def points(self, name: str, key: str) -> int:
        return (await self.qdrant.count(name, exact=True, shard_key_selector=key)).count

    async def arrive(self) -> None:
        """Wait until no collection has points under way."""
        end = time.monotonic() + ARRIVES_SECONDS
        for name in [each.name for each in (await self.qdrant.get_collections()).collections]:
            while (await self.qdrant.collection_cluster_info(name)).shard_transfers:
                assert time.monotonic() < end, f"points of {name} did not arrive"
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Remove what the test left, and close."""
        for each in (await self.qdrant.get_collections()).collections:
            if ".docs-" in each.name or each.name.startswith(("theirs-", "nnn")):
                await self.qdrant.delete_collection(each.name)
        await self.qdrant.close()


@pytest.fixture(scope="session")
def qdrant_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str | None]]:
    """The URL and the API key of the server that QDRANT_URL names, or of the double."""
    url = os.environ.get("QDRANT_URL")
    if url:
        yield url, os.environ.get("QDRANT_API_KEY")
        return
    with qdrant_double(tmp_path_factory.mktemp("qdrant"), API_KEY) as double:
        yield double.url, double.api_key


@pytest.fixture
async def stage(qdrant_address: tuple[str, str | None]) -> AsyncIterator[HttpStage]:
    async with open_stores() as stores:
        http = HttpStage(*qdrant_address, stores)
        yield http
        await http.close()


class TestOverHttp(StoreContract):
    pass


async def test_failed_documents_are_counted_beside_the_indexed_ones(stage: HttpStage) -> None:
    kb = knowledge_base()
    await settle(stage, kb)
    await stage.write(first(kb), kb, "acme", "public", 3)
    payload = {"tenant": "acme", "access_level": "public", "kind": "record", "state": "Failed"}
    point = models.PointStruct(id=1, vector={}, payload=payload)
    await stage.qdrant.upsert(first(kb), [point], shard_key_selector=FALLBACK_SHARD_KEY, wait=True)
    found = (await look(stage, kb)).collections[first(kb)]
    assert await stage.stores.documents(stage.server, found) == Known(DocumentCounts(indexed=3, failed=1))


async def test_a_document_is_deleted_from_the_fallback_only_where_its_own_key_has_it_as_new(stage: HttpStage) -> None:
    kb = knowledge_base()
    await settle(stage, kb)
    same, older, newer = (str(uuid.uuid4()) for _ in range(3))
    there = {same: (5, 5), older: (5, 6), newer: (6, 5)}
    await stage.add_key(first(kb), "acme/public")
    for place, key in enumerate((FALLBACK_SHARD_KEY, "acme/public")):
        points = [
            point for name, at in there.items() for point in document("acme", "public", version=at[place], name=name)
        ]
        await stage.qdrant.upsert(first(kb), points, shard_key_selector=key, wait=True)
    step = DeleteCopies(first(kb), contract.owner(kb, 1), ShardKey("acme/public", "acme", "public"))
    assert isinstance(await stage.stores.perform(stage.server, step), Rejected)
    left, _ = await stage.qdrant.scroll(first(kb), shard_key_selector=FALLBACK_SHARD_KEY)
    assert {(point.payload or {})[Field.DOCUMENT_ID] for point in left} == {newer}
    assert len(left) == 2
    assert await stage.points(first(kb), "acme/public") == 6


async def test_a_large_partition_leaves_no_copy_behind(stage: HttpStage) -> None:
    kb = knowledge_base()
    await settle(stage, kb)
    await stage.write(first(kb), kb, "acme", "public", 1500)
    began = time.perf_counter()
    await settle(stage, altered(kb, partitioning__tenants=[{"name": "acme", "dedicated": True}]))
    print(f"promotion of 3,000 points: {time.perf_counter() - began:.1f} s")
    assert await stage.points(first(kb), "acme/public") == 3000
    assert await stage.points(first(kb), FALLBACK_SHARD_KEY) == 0


async def test_questions_are_refused_that_filter_by_a_field_without_an_index(stage: HttpStage) -> None:
    kb = knowledge_base()
    await settle(stage, kb)
    strange = models.FieldCondition(key="metadata.strange", match=models.MatchValue(value="x"))
    with pytest.raises(Exception, match="Index required but not found"):
        await stage.qdrant.count(first(kb), count_filter=models.Filter(must=[strange]))


async def test_questions_are_answered_through_the_alias_while_a_partition_moves(stage: HttpStage) -> None:
    kb = knowledge_base()
    await settle(stage, kb)
    await stage.write(first(kb), kb, "acme", "public", 40)
    promoted = altered(kb, partitioning__tenants=[{"name": "acme", "dedicated": True}])
    routed = models.ShardKeyWithFallback(target="acme/public", fallback=FALLBACK_SHARD_KEY)
    seen: set[int] = set()
    moved = asyncio.create_task(settle(stage, promoted))
    while not moved.done():
        answer = await stage.qdrant.count(policy.subject(kb).alias, exact=True, shard_key_selector=routed)
        seen.add(answer.count)
    await moved
    assert seen == {80}


async def test_a_thousand_dedicated_tenants_are_made_in_bounded_passes(stage: HttpStage) -> None:
    tenants = [{"name": f"tenant-{number}", "dedicated": True} for number in range(1000)]
    kb = knowledge_base(partitioning__tenants=tenants)
    began = time.perf_counter()
    passes, longest = 0, 0.0
    while (plan := await _plan(stage, kb)).steps:
        start = time.perf_counter()
        for step in plan.steps:
            assert await stage.stores.perform(stage.server, step) == Known(None)
        passes, longest = passes + 1, max(longest, time.perf_counter() - start)
    start = time.perf_counter()
    status, _, message = await judged(stage, kb)
    print(
        f"1,000 shard keys: {passes} passes, {time.perf_counter() - began:.1f} s, longest pass {longest:.2f} s, "
        f"look and verdict {time.perf_counter() - start:.2f} s"
    )
    assert (status, passes) == ("True", 21)
    assert message.endswith("1000 partitions with shards of their own")


async def _plan(stage: HttpStage, kb: KnowledgeBase) -> policy.StorePlan:
    return policy.plan(kb, generation=1, dimensions=DIMENSIONS, store=Known(await look(stage, kb)))


# ------------------------------------------------------------------------------- a server that one can break


@pytest.fixture
def breakable(tmp_path: Path) -> Iterator[QdrantDouble]:
    """A double of the test's own."""
    with qdrant_double(tmp_path) as double:
        yield double


async def test_a_server_that_is_killed_and_comes_back_needs_no_restart_of_ours(breakable: QdrantDouble) -> None:
    async with open_stores() as stores:
        stage = HttpStage(breakable.url, None, stores)
        kb = knowledge_base(partitioning__tenants=[{"name": "acme", "dedicated": True}])
        await settle(stage, kb)
        breakable.kill()
        gone = await stores.look(stage.server, policy.subject(kb))
        assert type(gone) is Unreachable
        breakable.start()
        assert (await judged(stage, kb))[0] == "True"
        assert await settle(stage, kb) == []
        await stage.close()


async def test_a_kill_after_any_step_of_a_promotion_loses_no_point(breakable: QdrantDouble) -> None:
    async with open_stores() as stores:
        stage = HttpStage(breakable.url, None, stores)
        kb = knowledge_base()
        await settle(stage, kb)
        await stage.write(first(kb), kb, "acme", "public", 30)
        promoted = altered(kb, partitioning__tenants=[{"name": "acme", "dedicated": True}])
        kills = 0
        while (plan := await _plan(stage, promoted)).steps or plan.more:
            for step in plan.steps[:1]:
                assert await stores.perform(stage.server, step) == Known(None)
                breakable.kill()
                breakable.start()
                kills += 1
            await stage.arrive()
        assert kills == 3
        assert await stage.points(first(kb), "acme/public") == 60
        assert await stage.points(first(kb), FALLBACK_SHARD_KEY) == 0
        await stage.close()


async def test_a_server_that_keeps_silent_costs_a_bounded_time(breakable: QdrantDouble) -> None:
    async with open_stores() as stores:
        server, kb = StoreServer(breakable.url), worlds.knowledge_base()
        await stores.look(server, policy.subject(kb))
        breakable.pause()
        began = time.monotonic()
        looks = [stores.look(server, policy.subject(kb)) for _ in range(100)]
        found = await asyncio.gather(*looks)
        seconds = time.monotonic() - began
        breakable.resume()
        assert {type(each) for each in found} == {Unreachable}
        assert seconds < LOOK_SECONDS + 2


# ------------------------------------------------------------------------------------------------------- TLS


@asynccontextmanager
async def behind_tls(directory: Path) -> AsyncIterator[tuple[int, str]]:
    """Answer as an empty Qdrant does, over TLS; yields the port and the certificate authority."""
    files = certificates.ensure(directory)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.server_certificate, files.server_key)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"result": {request.path.strip("/"): []}, "status": "ok", "time": 0.0})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1], files.ca.read_text()
    finally:
        await runner.cleanup()


async def test_a_server_with_a_certificate_of_the_named_authority_is_trusted(tmp_path: Path) -> None:
    async with behind_tls(tmp_path) as (port, ca), open_stores() as stores:
        server = StoreServer(f"https://127.0.0.1:{port}", API_KEY, ca)
        assert await stores.look(server, policy.subject(worlds.knowledge_base())) == Known(StoreState())


async def test_a_server_with_another_certificate_is_not_sent_the_key(tmp_path: Path) -> None:
    async with behind_tls(tmp_path) as (port, _), open_stores() as stores:
        url = f"https://127.0.0.1:{port}"
        found = await stores.look(StoreServer(url, API_KEY), policy.subject(worlds.knowledge_base()))
        assert isinstance(found, Unreachable)
        assert found.reason.startswith(f"{url} shows a certificate that is not trusted (")
        assert found.reason.endswith("check spec.vectorStore.caSecretRef")


async def test_a_server_without_tls_is_told_so(breakable: QdrantDouble) -> None:
    async with open_stores() as stores:
        url = breakable.url.replace("http:", "https:")
        found = await stores.look(StoreServer(url), policy.subject(worlds.knowledge_base()))
        assert found == Unreachable(f"{url} does not speak TLS (WRONG_VERSION_NUMBER): check spec.vectorStore.url")
