"""What the collection of a generation has to be, and where partitions lie in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract import collection as contract
from lectern_contract import resources
from lectern_contract.collection import FALLBACK_SHARD_KEY, Collection, Index, Owner, Settings, Shape, ShardKey
from lectern_contract.generation import index_identity
from lectern_contract.resources import KnowledgeBase, parse_as
from lectern_contract.resources.common import PARTITION_PART

PARTS = st.from_regex(PARTITION_PART, fullmatch=True)


def knowledge_base(**spec: Any) -> KnowledgeBase:
    return parse_as(
        KnowledgeBase,
        {
            "apiVersion": resources.API_VERSION,
            "kind": "KnowledgeBase",
            "metadata": {"name": "docs", "namespace": "team", "uid": "u", "generation": 1},
            "spec": {
                "embedding": {"model": "m", "dimensions": 4, "server": {"managed": {}}},
                "vectorStore": {"url": "http://qdrant:6333"},
                "messaging": {"bootstrapServers": "kafka:9092"},
                "blobStore": {"persistentVolume": {"claimName": "blobs"}},
                **spec,
            },
        },
    )


def test_collection_of_the_defaults() -> None:
    kb = knowledge_base()
    assert contract.collection(kb, generation=3, dimensions=4) == Collection(
        name="team.docs.g3",
        alias="team.docs",
        owner=Owner("team", "docs", 3, index_identity(kb.spec)),
        shape=Shape(dimensions=4, distance="Cosine", sparse=True, custom_sharding=True),
        settings=Settings(
            m=16,
            ef_construct=100,
            links=16,
            quantization="None",
            on_disk=False,
            replication_factor=1,
            write_consistency_factor=1,
            idf=True,
            strict=True,
        ),
        indexes=(
            Index("access_level", "keyword", tenant=True, graph=True),
            Index("document_id", "keyword", graph=False),
            Index("kind", "keyword", graph=False),
            Index("metadata_terms", "keyword", graph=False),
            Index("source", "keyword", graph=False),
            Index("state", "keyword", graph=False),
            Index("tenant", "keyword", tenant=True, graph=True),
            Index("version", "integer", graph=False),
        ),
    )


def test_every_field_of_the_vector_store_reaches_the_collection() -> None:
    store = {
        "url": "http://qdrant:6333",
        "replicationFactor": 3,
        "writeConsistencyFactor": 2,
        "hnsw": {"m": 0, "efConstruct": 64},
        "quantization": "Binary",
        "onDisk": True,
        "filterableFields": [{"name": "when", "type": "DateTime"}, {"name": "draft", "type": "Boolean"}],
    }
    found = contract.collection(
        knowledge_base(vectorStore=store, sparse={"enabled": False}), generation=1, dimensions=4
    )
    assert found.settings == Settings(
        m=0,
        ef_construct=64,
        links=contract.LINKS_WITHOUT_GRAPH,
        quantization="Binary",
        on_disk=True,
        replication_factor=3,
        write_consistency_factor=2,
        idf=False,
    )
    assert not found.shape.sparse
    declared = [each for each in found.indexes if each.field.startswith("metadata.")]
    assert declared == [Index("metadata.draft", "bool"), Index("metadata.when", "datetime")]


def test_knowledge_base_without_a_store_has_no_collection() -> None:
    kb = knowledge_base(vectorStore=None)
    with pytest.raises(ValueError, match="docs names no vector store"):
        contract.collection(kb, generation=1, dimensions=4)


def test_dedicated_tenants_get_a_key_for_each_level_and_all_others_share_one() -> None:
    tenants = [{"name": "b", "dedicated": True, "shardNumber": 3}, {"name": "a", "dedicated": True}, {"name": "small"}]
    spec = {"accessLevels": ["staff", "public"], "tenants": tenants}
    assert contract.shard_keys(knowledge_base(partitioning=spec)) == (
        ShardKey("a/public", "a", "public"),
        ShardKey("a/staff", "a", "staff"),
        ShardKey("b/public", "b", "public", 3),
        ShardKey("b/staff", "b", "staff", 3),
        ShardKey(FALLBACK_SHARD_KEY, None, None),
    )
    by_tenant = knowledge_base(partitioning={**spec, "shardBy": "Tenant"})
    assert contract.shard_keys(by_tenant) == (
        ShardKey("a", "a", None),
        ShardKey("b", "b", None, 3),
        ShardKey(FALLBACK_SHARD_KEY, None, None),
    )


def test_key_says_what_every_point_below_it_has() -> None:
    assert ShardKey("a/x", "a", "x").where() == {"tenant": "a", "access_level": "x"}
    assert ShardKey("a", "a", None).where() == {"tenant": "a"}


@given(tenant=PARTS, level=PARTS, shard_by=st.sampled_from(["TenantAndAccessLevel", "Tenant"]))
def test_key_is_read_back_as_it_was_made_and_never_the_fallback(tenant: str, level: str, shard_by: Any) -> None:
    made = ShardKey.of(shard_by, tenant, level)
    assert contract.parsed(shard_by, made.key) == made
    assert made.key != FALLBACK_SHARD_KEY


@given(one=st.tuples(PARTS, PARTS), other=st.tuples(PARTS, PARTS))
def test_two_partitions_never_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    keys = {contract.shard_key("TenantAndAccessLevel", *each) for each in (one, other)}
    assert (len(keys) == 1) == (one == other)


@pytest.mark.parametrize("key", [FALLBACK_SHARD_KEY, "", "/", "a", "a/", "/b"])
def test_key_that_no_partition_has_is_none(key: str) -> None:
    assert contract.parsed("TenantAndAccessLevel", key) is None


@pytest.mark.parametrize("key", [FALLBACK_SHARD_KEY, "", "a/b"])
def test_key_that_no_tenant_has_is_none(key: str) -> None:
    assert contract.parsed("Tenant", key) is None


def test_owner_is_read_back_from_metadata() -> None:
    owner = Owner("team", "docs", 2, "abc")
    assert Owner.of({**owner.metadata(), "theirs": 1}) == owner


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"lectern": None},
        {"lectern": {"namespace": "team", "knowledge_base": "docs", "generation": "2", "index_identity": "abc"}},
        {"lectern": {"namespace": "team", "knowledge_base": "docs", "generation": 2}},
    ],
)
def test_metadata_of_others_names_no_owner(metadata: dict[str, Any] | None) -> None:
    assert Owner.of(metadata) is None
