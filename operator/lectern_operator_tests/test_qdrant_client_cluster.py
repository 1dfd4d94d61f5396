"""The client of Qdrant against the answers of a cluster of three nodes: what is seen, and what steps send."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from lectern_contract import collection as contract
from lectern_contract.collection import Index, Owner, Settings, Shape, ShardKey
from lectern_contract.resources.status import DocumentCounts
from lectern_operator.clients.qdrant import StoreServer, open_stores
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.vector_store import (
    ChangeSettings,
    CopyPartition,
    CopyShard,
    CreateCollection,
    CreateIndexes,
    CreateShardKeys,
    DeleteCopies,
    ObservedCollection,
    ObservedShard,
    Rejected,
    Replica,
    Shared,
    StoreState,
)
from lectern_operator_tests import worlds
from lectern_operator_tests.qdrant_answers import NAME, OWNER, SUBJECT, Double, look, served

# --------------------------------------------------------------------------------------------- a cluster of three

HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False}
OPTIMIZERS = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0}


def info(*, metadata: dict[str, Any] | None, **params: Any) -> dict[str, Any]:
    """Return what a server says of a collection."""
    indexes = {
        "tenant": {"data_type": "keyword", "params": {"type": "keyword", "is_tenant": True}, "points": 9},
        "access_level": {"data_type": "keyword", "points": 9},
        "kind": {"data_type": "keyword", "params": {"type": "keyword", "enable_hnsw": False}, "points": 9},
    }
    return {
        "status": "yellow",
        "optimizer_status": "ok",
        "segments_count": 1,
        "something_new": True,
        "payload_schema": indexes,
        "config": {
            "params": {
                "vectors": {"dense": {"size": 4, "distance": "Cosine", "hnsw_config": {"m": 8}, "memory": "cold"}},
                "sparse_vectors": {"sparse": {"modifier": "idf"}},
                "shard_number": 1,
                "sharding_method": "custom",
                "replication_factor": 3,
                "write_consistency_factor": 2,
                "on_disk_payload": True,
                **params,
            },
            "hnsw_config": {**HNSW, "payload_m": 32},
            "optimizer_config": {**OPTIMIZERS, "flush_interval_sec": 5, "indexing_threshold": 10000},
            "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}},
            "strict_mode_config": {
                "enabled": True,
                "unindexed_filtering_retrieve": False,
                "unindexed_filtering_update": False,
            },
            **({"metadata": metadata} if metadata is not None else {}),
        },
    }


CLUSTER = {
    "peer_id": 1,
    "shard_count": 3,
    "local_shards": [
        {"shard_id": 1, "shard_key": "_shared", "points_count": 9, "state": "Active"},
        {"shard_id": 3, "shard_key": "acme/public", "points_count": 4, "state": "Active"},
    ],
    "remote_shards": [
        {"shard_id": 2, "shard_key": "big/public", "peer_id": 3, "state": "Partial"},
        {"shard_id": 1, "shard_key": "_shared", "peer_id": 2, "state": "Dead"},
    ],
    "shard_transfers": [
        {"shard_id": 1, "to_shard_id": 2, "from": 1, "to": 3, "sync": True, "method": "stream_records"}
    ],
}
STATUS = {
    "status": "enabled",
    "peer_id": 1,
    "peers": {str(peer): {"uri": f"http://node-{peer}:6335/"} for peer in (3, 1, 2)},
    "raft_info": {"term": 1, "commit": 1, "pending_operations": 0, "is_voter": True},
    "consensus_thread_status": {"consensus_thread_status": "working", "last_update": "2026-01-01T00:00:00Z"},
    "message_send_failures": {},
}


def facet(body: dict[str, Any]) -> dict[str, Any]:
    """Count the fallback shard's points by tenant, and one tenant's by level."""
    if body["key"] == "state":
        return {"hits": [{"value": "Indexed", "count": 5}, {"value": "Deleted", "count": 2}]}
    assert body["shard_key"] == "_shared"
    if body["key"] == "tenant":
        return {"hits": [{"value": name, "count": count} for name, count in (("big", 30_000), ("acme", 8), ("s", 1))]}
    (wanted,) = body["filter"]["must"]
    hits = {"big": {"staff": 19_999, "public": 10_001}, "acme": {"public": 8}}[wanted["match"]["value"]]
    return {"hits": [{"value": value, "count": count} for value, count in hits.items()]}


def count(body: dict[str, Any]) -> dict[str, int]:
    """Count what has not been deleted yet."""
    records = len(body["filter"]["must"]) == 3
    return {
        "count": {("_shared", False): 6, ("_shared", True): 2, ("acme/public", True): 3}[body["shard_key"], records]
    }


def cluster() -> Double:
    """Return a server with our collection, an alias, and what others have."""
    base = f"/collections/{NAME}"
    return Double(
        {
            "GET /collections": {"collections": [{"name": name} for name in (NAME, "team.docs-2.g1", "theirs")]},
            "GET /aliases": {
                "aliases": [
                    {"alias_name": "team.docs", "collection_name": NAME},
                    {"alias_name": "team.other", "collection_name": "theirs"},
                ]
            },
            f"GET {base}": info(metadata=OWNER.metadata()),
            f"GET {base}/cluster": CLUSTER,
            "GET /cluster": STATUS,
            f"POST {base}/facet": facet,
            f"POST {base}/points/count": count,
            f"POST {base}/cluster": True,
        }
    )


async def test_a_cluster_is_read_as_it_is() -> None:
    double = cluster()
    found, _ = await look(double.answer)
    acme = ShardKey("acme/public", "acme", "public")
    big = ShardKey("big/public", "big", "public")
    expected = ObservedCollection(
        name=NAME,
        owner=OWNER,
        shape=Shape(dimensions=4, distance="Cosine", sparse=True, custom_sharding=True),
        settings=Settings(
            m=8,
            ef_construct=100,
            links=32,
            quantization="Scalar",
            on_disk=True,
            replication_factor=3,
            write_consistency_factor=2,
            idf=True,
            strict=True,
        ),
        indexes=(
            Index("access_level", "keyword"),
            Index("kind", "keyword", graph=False),
            Index("tenant", "keyword", tenant=True),
        ),
        keys={
            "_shared": (ObservedShard(1, (Replica(1, "Active"), Replica(2, "Dead")), busy=True),),
            "acme/public": (ObservedShard(3, (Replica(1, "Active"),)),),
            "big/public": (ObservedShard(2, (Replica(3, "Partial"),), busy=True),),
        },
        shared=Known({"acme/public": Shared(acme, 6, records=2, arrived=3), "big/public": Shared(big, 10_001)}),
        peers=(1, 2, 3),
        status="yellow",
    )
    assert found == Known(StoreState({NAME: expected}, {"team.docs": NAME}))
    assert {what.rpartition(NAME)[2] for what, _ in double.changes} == {"/facet", "/points/count"}


async def test_documents_are_not_counted_while_some_lie_in_two_places() -> None:
    double = cluster()
    async with served(double.answer) as url, open_stores() as stores:
        state = await stores.look(StoreServer(url), SUBJECT)
        assert isinstance(state, Known)
        found = state.value.collections[NAME]
        assert isinstance(await stores.documents(StoreServer(url), found), Unknown)
        settled = ObservedCollection(NAME, OWNER, found.shape, found.settings)
        assert await stores.documents(StoreServer(url), settled) == Known(DocumentCounts(indexed=5, failed=0))


async def test_a_look_at_a_collection_at_rest_costs_five_requests() -> None:
    double = cluster()
    double.answers[f"GET /collections/{NAME}"] = info(metadata=OWNER.metadata(), replication_factor=1)
    double.answers[f"POST /collections/{NAME}/facet"] = {"hits": []}
    await look(double.answer)
    base = f"/collections/{NAME}"
    assert double.asked == [
        "GET /collections",
        "GET /aliases",
        f"GET {base}",
        f"GET {base}/cluster",
        f"POST {base}/facet",
    ]


async def test_of_a_collection_of_somebody_else_nothing_more_is_asked() -> None:
    double = cluster()
    double.answers[f"GET /collections/{NAME}"] = info(metadata=None)
    found, _ = await look(double.answer)
    assert isinstance(found, Known)
    assert found.value.collections[NAME].owner is None
    assert len(double.asked) == 3


async def test_a_collection_that_goes_during_the_look_is_not_there() -> None:
    double = cluster()
    del double.answers[f"GET /collections/{NAME}"]
    found, _ = await look(double.answer)
    assert found == Known(StoreState({}, {"team.docs": NAME}))


async def test_points_that_cannot_be_counted_leave_the_rest_known() -> None:
    double = cluster()
    error = {"status": {"error": "Bad request: Limit exceeded"}}
    double.answers[f"POST /collections/{NAME}/facet"] = web.json_response(error, status=400)
    found, _ = await look(double.answer)
    assert isinstance(found, Known)
    told = Unknown("partitions cannot be counted: Bad request: Limit exceeded")
    assert found.value.collections[NAME].shared == told


async def perform(double: Double, step: Any) -> Fact[None]:
    """Take a step at `double`."""
    async with served(double.answer) as url, open_stores() as stores:
        return await stores.perform(StoreServer(url), step)


async def test_a_shard_is_copied_from_node_to_node() -> None:
    double = cluster()
    double.answers[f"GET /collections/{NAME}/cluster"] = {**CLUSTER, "shard_transfers": []}
    assert await perform(double, CopyShard(NAME, 1, source=1, target=3)) == Known(None)
    wanted = {"replicate_shard": {"shard_id": 1, "from_peer_id": 1, "to_peer_id": 3}}
    assert double.changes == [(f"POST /collections/{NAME}/cluster", wanted)]


@pytest.mark.parametrize("target", [2, 3])
async def test_nothing_is_copied_where_a_copy_is_or_another_is_on_its_way(target: int) -> None:
    double = cluster()
    assert await perform(double, CopyShard(NAME, 1, source=1, target=target)) == Known(None)
    assert double.changes == []


async def test_points_on_their_way_are_not_sent_again() -> None:
    double = cluster()
    assert await perform(double, CopyPartition(NAME, ShardKey("big/public", "big", "public"))) == Known(None)
    assert double.changes == []


@pytest.mark.parametrize(
    ("key", "owner"),
    [("big/public", OWNER), ("gone/public", OWNER), ("acme/public", Owner("team", "docs", 1, "other"))],
    ids=["does not answer", "is gone", "is of another collection"],
)
async def test_no_copy_is_deleted_for_a_key_that_does_not_hold_it(key: str, owner: Owner) -> None:
    double = cluster()
    tenant, _, level = key.partition("/")
    refused = await perform(double, DeleteCopies(NAME, owner, ShardKey(key, tenant, level)))
    assert refused == Rejected(f"{NAME} was changed meanwhile: nothing is deleted from _shared")
    assert double.changes == []


async def test_a_server_without_shard_keys_is_told_what_it_needs() -> None:
    error = {"status": {"error": "Bad request: Distributed mode disabled"}}
    double = Double({f"PUT /collections/{NAME}/shards": web.json_response(error, status=400)})
    refused = await perform(double, CreateShardKeys(NAME, (contract.fallback(),)))
    assert isinstance(refused, Rejected)
    assert refused.reason.endswith("start Qdrant with cluster.enabled, one node is enough")


async def test_a_collection_is_made_in_one_request_with_its_owner() -> None:
    store = {"url": "http://qdrant:6333", "quantization": "Binary", "onDisk": True, "hnsw": {"m": 0}}
    wanted = contract.collection(worlds.knowledge_base(vectorStore=store), generation=1, dimensions=4)
    double = Double({f"PUT /collections/{NAME}": True})
    assert await perform(double, CreateCollection(wanted)) == Known(None)
    ((_, body),) = double.changes
    assert body == {
        "vectors": {"dense": {"size": 4, "distance": "Cosine", "memory": "cold"}},
        "sparse_vectors": {"sparse": {"modifier": "idf"}},
        "sharding_method": "custom",
        "shard_number": 1,
        "replication_factor": 1,
        "write_consistency_factor": 1,
        "hnsw_config": {"m": 0, "ef_construct": 100, "payload_m": 16},
        "quantization_config": {"binary": {"memory": "pinned"}},
        "strict_mode_config": {
            "enabled": True,
            "unindexed_filtering_retrieve": False,
            "unindexed_filtering_update": False,
        },
        "metadata": wanted.owner.metadata(),
    }


async def test_settings_are_changed_for_the_collection_and_taken_back_from_its_vector() -> None:
    wanted = contract.collection(worlds.knowledge_base(), generation=1, dimensions=4)
    double = Double({f"PATCH /collections/{NAME}": True})
    assert await perform(double, ChangeSettings(NAME, wanted.shape, wanted.settings)) == Known(None)
    ((_, body),) = double.changes
    assert body["vectors"] == {
        "dense": {"hnsw_config": {}, "quantization_config": "Disabled", "memory": "cached"},
    }
    assert body["quantization_config"] == "Disabled"
    assert body["params"] == {"replication_factor": 1, "write_consistency_factor": 1}


async def test_indexes_are_asked_for_and_not_waited_for() -> None:
    double = Double({f"PUT /collections/{NAME}/index": {"operation_id": 1, "status": "acknowledged"}})
    indexes = (Index("kind", "keyword", graph=False), Index("tenant", "keyword", tenant=True))
    assert await perform(double, CreateIndexes(NAME, indexes)) == Known(None)
    assert [body for _, body in double.changes] == [
        {"field_name": "kind", "field_schema": {"type": "keyword", "enable_hnsw": False}},
        {"field_name": "tenant", "field_schema": {"type": "keyword", "is_tenant": True}},
    ]
