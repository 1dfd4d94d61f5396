"""Payload indexes: what `payload_schema` shows, and that making or removing one again is no error."""

import pytest
from qdrant_client import AsyncQdrantClient, models

from e2e.qdrant_contract.worlds import SMALL, Collection, point, refused


async def schema_of(collection: Collection) -> dict[str, models.PayloadIndexInfo]:
    return (await collection.qdrant.get_collection(collection.name)).payload_schema


async def test_indexes_are_shown_with_their_kind(collection: Collection) -> None:
    kinds = {field: index.data_type.value for field, index in (await schema_of(collection)).items()}
    assert kinds == {"tenant": "keyword", "acl": "keyword", "version": "integer"}


async def test_index_parameters_are_shown_as_given(collection: Collection) -> None:
    schema = await schema_of(collection)
    tenant = schema["tenant"].params
    assert isinstance(tenant, models.KeywordIndexParams)
    assert (tenant.is_tenant, schema["acl"].params) == (True, None)


async def test_index_counts_the_points_that_have_the_field(collection: Collection) -> None:
    await collection.upsert(point(1, acl=["a", "b"]), point(2, acl="a"), point(3))
    assert (await schema_of(collection))["acl"].points == 2


async def test_index_covers_points_that_were_there_before(collection: Collection) -> None:
    await collection.upsert(point(1, group="g"), point(2, group="h"))
    await collection.qdrant.create_payload_index(collection.name, "group", models.PayloadSchemaType.KEYWORD, wait=True)
    facet = await collection.qdrant.facet(collection.name, "group", exact=True)
    assert sorted((hit.value, hit.count) for hit in facet.hits) == [("g", 1), ("h", 1)]


async def test_shard_key_made_later_has_the_indexes(collection: Collection) -> None:
    await collection.qdrant.create_shard_key(collection.name, "late")
    await collection.upsert(point(1, acl="a"), key="late")
    facet = await collection.qdrant.facet(collection.name, "acl", exact=True, shard_key_selector="late")
    assert [(hit.value, hit.count) for hit in facet.hits] == [("a", 1)]


async def test_same_index_again_is_no_error(collection: Collection) -> None:
    before = await schema_of(collection)
    done = await collection.qdrant.create_payload_index(
        collection.name, "acl", models.PayloadSchemaType.KEYWORD, wait=True
    )
    assert (done.status, await schema_of(collection)) == (models.UpdateStatus.COMPLETED, before)


async def test_removed_index_is_not_shown(collection: Collection) -> None:
    await collection.qdrant.delete_payload_index(collection.name, "acl", wait=True)
    assert sorted(await schema_of(collection)) == ["tenant", "version"]


async def test_removing_a_missing_index_is_no_error(collection: Collection) -> None:
    done = await collection.qdrant.delete_payload_index(collection.name, "nothing", wait=True)
    assert done.status == models.UpdateStatus.COMPLETED


async def test_index_on_a_missing_collection_is_not_found(qdrant: AsyncQdrantClient, name: str) -> None:
    with refused(404, saying=name):
        await qdrant.create_payload_index(name, "field", models.PayloadSchemaType.KEYWORD)


@pytest.mark.parametrize("kind", ["keyword", "integer", "float", "bool", "datetime", "uuid", "text", "geo"])
async def test_every_kind_of_index_can_be_made(collection: Collection, kind: str) -> None:
    await collection.upsert(point(1, field=None), key=SMALL)
    await collection.qdrant.create_payload_index(collection.name, "field", models.PayloadSchemaType(kind), wait=True)
    assert (await schema_of(collection))["field"].data_type.value == kind
