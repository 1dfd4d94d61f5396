"""Aliases: how readers are moved from one generation of a collection to the next in one step."""

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from qdrant_client import AsyncQdrantClient, models

from e2e.qdrant_contract.worlds import SMALL, Collection, make, point, refused, where


def created(alias: str, collection: str) -> models.CreateAliasOperation:
    return models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=collection, alias_name=alias))


def deleted(alias: str) -> models.DeleteAliasOperation:
    return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))


async def aliases_of(qdrant: AsyncQdrantClient, collection: str) -> list[str]:
    return sorted(each.alias_name for each in (await qdrant.get_collection_aliases(collection)).aliases)


@pytest.fixture
def alias() -> str:
    return f"contract-alias-{uuid.uuid4().hex[:12]}"


@pytest_asyncio.fixture(loop_scope="session")
async def other(qdrant: AsyncQdrantClient) -> AsyncIterator[Collection]:
    """A second collection."""
    unique = f"contract-other-{uuid.uuid4().hex[:12]}"
    yield await make(qdrant, unique)
    await qdrant.delete_collection(unique)


async def test_new_alias_is_listed_with_its_collection(collection: Collection, alias: str) -> None:
    await collection.qdrant.update_collection_aliases([created(alias, collection.name)])
    everywhere = {each.alias_name: each.collection_name for each in (await collection.qdrant.get_aliases()).aliases}
    assert (everywhere[alias], await aliases_of(collection.qdrant, collection.name)) == (collection.name, [alias])


async def test_alias_counts_as_an_existing_collection(collection: Collection, alias: str) -> None:
    await collection.qdrant.update_collection_aliases([created(alias, collection.name)])
    listed = {each.name for each in (await collection.qdrant.get_collections()).collections}
    assert (await collection.qdrant.collection_exists(alias), alias in listed) == (True, False)


async def test_alias_works_for_settings_writes_and_reads(collection: Collection, alias: str) -> None:
    await collection.qdrant.update_collection_aliases([created(alias, collection.name)])
    named = Collection(collection.qdrant, alias)
    await named.upsert(point(1, tenant="t"))
    info = await collection.qdrant.get_collection(alias)
    found = await named.query([1.0, 0.0, 0.0, 0.0], using="dense", query_filter=where(tenant="t"))
    assert (info.points_count, await named.ids(key=SMALL), [each.id for each in found]) == (1, [1], [1])


async def test_shard_keys_and_indexes_can_be_made_through_an_alias(collection: Collection, alias: str) -> None:
    await collection.qdrant.update_collection_aliases([created(alias, collection.name)])
    await collection.qdrant.create_shard_key(alias, "large")
    await collection.qdrant.create_payload_index(alias, "extra", models.PayloadSchemaType.KEYWORD, wait=True)
    await Collection(collection.qdrant, alias).upsert(point(1), key="large")
    schema = (await collection.qdrant.get_collection(collection.name)).payload_schema
    assert ("extra" in schema, await collection.ids(key="large")) == (True, [1])


async def test_one_call_moves_an_alias_to_another_collection(
    collection: Collection, other: Collection, alias: str
) -> None:
    await collection.upsert(point(1))
    await other.upsert(point(2))
    await collection.qdrant.update_collection_aliases([created(alias, collection.name)])
    await collection.qdrant.update_collection_aliases([deleted(alias), created(alias, other.name)])
    assert (
        await Collection(collection.qdrant, alias).ids(),
        await aliases_of(collection.qdrant, collection.name),
        await aliases_of(collection.qdrant, other.name),
    ) == ([2], [], [alias])


async def test_creating_an_alias_again_moves_it(collection: Collection, other: Collection, alias: str) -> None:
    await collection.qdrant.update_collection_aliases([created(alias, collection.name)])
    await collection.qdrant.update_collection_aliases([created(alias, other.name)])
    assert (await aliases_of(collection.qdrant, collection.name), await aliases_of(collection.qdrant, other.name)) == (
        [],
        [alias],
    )


async def test_renamed_alias_leaves_its_old_name(collection: Collection, alias: str) -> None:
    await collection.qdrant.update_collection_aliases([created(alias, collection.name)])
    rename = models.RenameAlias(old_alias_name=alias, new_alias_name=f"{alias}-new")
    await collection.qdrant.update_collection_aliases([models.RenameAliasOperation(rename_alias=rename)])
    assert await aliases_of(collection.qdrant, collection.name) == [f"{alias}-new"]


async def test_alias_of_a_missing_collection_is_refused(qdrant: AsyncQdrantClient, name: str, alias: str) -> None:
    with refused(404, saying=name):
        await qdrant.update_collection_aliases([created(alias, name)])


async def test_alias_named_like_a_collection_is_refused(collection: Collection, other: Collection) -> None:
    with refused(400, 409, saying=other.name):
        await collection.qdrant.update_collection_aliases([created(other.name, collection.name)])


async def test_collection_named_like_an_alias_is_refused(collection: Collection, alias: str) -> None:
    await collection.qdrant.update_collection_aliases([created(alias, collection.name)])
    with refused(400, 409, saying=alias):
        await make(collection.qdrant, alias)


async def test_deleting_a_missing_alias_is_no_error(collection: Collection, alias: str) -> None:
    assert await collection.qdrant.update_collection_aliases([deleted(alias)])


async def test_aliases_go_with_their_collection(collection: Collection, alias: str) -> None:
    await collection.qdrant.update_collection_aliases([created(alias, collection.name)])
    await collection.qdrant.delete_collection(collection.name)
    left = {each.alias_name for each in (await collection.qdrant.get_aliases()).aliases}
    assert (alias in left, await collection.qdrant.collection_exists(alias)) == (False, False)


async def test_deleting_by_an_alias_deletes_nothing(collection: Collection, alias: str) -> None:
    await collection.qdrant.update_collection_aliases([created(alias, collection.name)])
    await collection.qdrant.delete_collection(alias)
    assert await collection.qdrant.collection_exists(collection.name)
