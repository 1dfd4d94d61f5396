"""The collection that most contracts are about, points for it, and how a refusal is expected."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

SMALL = "small"  # the shard key of all tenants that have none of their own
INDEXES: Mapping[str, Any] = {
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "acl": models.PayloadSchemaType.KEYWORD,
    "version": models.PayloadSchemaType.INTEGER,
}


@dataclass(frozen=True)
class Collection:
    """A collection of the test's own, with calls that name it."""

    qdrant: AsyncQdrantClient
    name: str

    async def upsert(self, *points: models.PointStruct, key: Any = SMALL, **options: Any) -> models.UpdateResult:
        """Write points and wait."""
        return await self.qdrant.upsert(self.name, list(points), shard_key_selector=key, wait=True, **options)

    async def payloads(self, *, key: Any = None, wanted: models.Filter | None = None) -> dict[Any, Any]:
        """All points that match, by id, with their payloads."""
        points, more = await self.qdrant.scroll(
            self.name, scroll_filter=wanted, limit=100, shard_key_selector=key, with_payload=True
        )
        assert more is None
        return {point.id: point.payload for point in points}

    async def ids(self, *, key: Any = None, wanted: models.Filter | None = None) -> list[Any]:
        """The ids of all points that match, in order."""
        return list(await self.payloads(key=key, wanted=wanted))

    async def count(self, *, key: Any = None, wanted: models.Filter | None = None) -> int:
        """The number of points that match."""
        return (await self.qdrant.count(self.name, wanted, exact=True, shard_key_selector=key)).count

    async def query(self, query: Any, *, key: Any = SMALL, **options: Any) -> list[models.ScoredPoint]:
        """The best points."""
        return (await self.qdrant.query_points(self.name, query=query, shard_key_selector=key, **options)).points

    async def states(self) -> dict[Any, str]:
        """The state of each shard key's local shard."""
        info = await self.qdrant.collection_cluster_info(self.name)
        return {shard.shard_key: shard.state.value for shard in info.local_shards}


async def make(qdrant: AsyncQdrantClient, name: str, **options: Any) -> Collection:
    """Make the collection with its indexes and the key `small`."""
    settings: dict[str, Any] = {
        "vectors_config": {"dense": models.VectorParams(size=4, distance=models.Distance.DOT)},
        "sparse_vectors_config": {"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        "sharding_method": models.ShardingMethod.CUSTOM,
    }
    assert await qdrant.create_collection(name, **(settings | options))
    assert await qdrant.create_shard_key(name, SMALL)
    for field, schema in INDEXES.items():
        await qdrant.create_payload_index(name, field, schema, wait=True)
    return Collection(qdrant, name)


def point(
    id_: Any,
    dense: Sequence[float] | None = (1, 0, 0, 0),
    sparse: Mapping[int, float] | None = None,
    **payload: Any,
) -> models.PointStruct:
    """A point with these vectors (those that are None are left out) and this payload."""
    vectors: dict[str, Any] = {}
    if dense is not None:
        vectors["dense"] = [float(value) for value in dense]
    if sparse is not None:
        vectors["sparse"] = sparse_vector(sparse)
    return models.PointStruct(id=id_, vector=vectors, payload=payload)


def sparse_vector(weights: Mapping[int, float]) -> models.SparseVector:
    """Term weights as a sparse vector."""
    return models.SparseVector(indices=list(weights), values=list(weights.values()))


def where(**fields: Any) -> models.Filter:
    """All of these fields have these values; of a list, one of them."""
    return models.Filter(
        must=[
            models.FieldCondition(
                key=key,
                match=models.MatchAny(any=value) if isinstance(value, list) else models.MatchValue(value=value),
            )
            for key, value in fields.items()
        ]
    )


def older_than(version: int) -> models.Filter:
    """Points of an earlier version: the guard of every write of a document."""
    return models.Filter(must=[models.FieldCondition(key="version", range=models.Range(lt=version))])


def routed(target: Any) -> models.ShardKeyWithFallback:
    """To the target's own key where it has one, otherwise to `small`."""
    return models.ShardKeyWithFallback(target=target, fallback=SMALL)


@contextmanager
def refused(*statuses: int, saying: str = "") -> Iterator[None]:
    """The call in the block is refused with one of these statuses, and Qdrant's envelope says this."""
    with pytest.raises(UnexpectedResponse) as caught:
        yield
    assert caught.value.status_code in statuses, caught.value
    error = caught.value.structured()["status"]["error"]
    assert saying in error, error
