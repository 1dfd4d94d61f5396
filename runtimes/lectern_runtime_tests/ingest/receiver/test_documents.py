"""What is pushed is on the log and in the blob store before the answer, once, and for the right readers."""

from __future__ import annotations

import hashlib

import pytest

from lectern_contract.messages import Deleted, DocumentRef, Put
from lectern_contract.payload import MetadataValue
from lectern_runtime_tests.ingest.receiver.world import (
    KB,
    NAMESPACE,
    SOURCE,
    World,
    base64_of,
    bearer,
    document,
)


def ref(uri: str, access_level: str = "public", tenant: str = "acme") -> DocumentRef:
    return DocumentRef(
        namespace=NAMESPACE, knowledge_base=KB, tenant=tenant, access_level=access_level, source=SOURCE, uri=uri
    )


def put(
    uri: str,
    text: str = "hello",
    *,
    level: str = "public",
    title: str = "",
    media_type: str = "text/markdown",
    metadata: dict[str, MetadataValue] | None = None,
) -> Put:
    return Put(
        document=ref(uri, level),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        size=len(text.encode()),
        media_type=media_type,
        title=title,
        metadata=metadata or {},
    )


async def test_a_document_is_durable_when_the_answer_comes(world: World) -> None:
    async with world.serving() as serving:
        answer = await serving.put(document(title="A"), key=world.key())
    assert answer.status_code == 202
    told = answer.json()
    assert told == {
        "run_id": told["run_id"],
        "accepted": 1,
        "unchanged": 0,
        "rejected": 0,
        "results": [
            {"uri": "a.md", "result": "accepted", "reason": None, "detail": None, "document_id": ref("a.md").id}
        ],
    }
    assert world.said() == [put("a.md", title="A")]
    assert await world.blobs.get(hashlib.sha256(b"hello").hexdigest()) == b"hello"


async def test_several_documents_of_a_request_are_told_one_by_one(world: World) -> None:
    async with world.serving(exclude=("*.tmp",)) as serving:
        answer = await serving.put(
            document("a.md"),
            document("b.md", content_base64=base64_of(b"\x00\xff"), text=None, media_type="application/pdf"),
            document("c.tmp"),
            document("d.md", media_type="image/png"),
            document("e.md", media_type="text"),
            document("f.md", text="x" * 10_001),
            document("a.md", text="again"),
            document("g.md", partition={"tenant": "rival", "access_level": "public"}),
            key=world.key(),
        )
    told = answer.json()
    assert answer.status_code == 202
    assert [(each["uri"], each["result"], each["reason"]) for each in told["results"]] == [
        ("a.md", "accepted", None),
        ("b.md", "accepted", None),
        ("c.tmp", "rejected", "not_included"),
        ("d.md", "rejected", "media_type_not_accepted"),
        ("e.md", "rejected", "media_type_invalid"),
        ("f.md", "rejected", "too_large"),
        ("a.md", "rejected", "duplicate_uri"),
        ("g.md", "rejected", "partition_not_allowed"),
    ]
    assert [each.document.uri for each in world.said()] == ["a.md", "b.md"]


async def test_the_same_again_is_unchanged_and_publishes_nothing(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        sent = document(title="A", metadata={"year": 1, "draft": True, "product": "x"})
        await serving.put(sent, key=key)
        again = await serving.http.put("/v1/documents", json=sent, headers=bearer(key))
    assert (again.status_code, again.json()["unchanged"]) == (202, 1)
    assert world.said() == [put("a.md", title="A", metadata={"year": 1, "draft": True, "product": "x"})]


@pytest.mark.parametrize(
    "change",
    [
        {"text": "other"},
        {"title": "B"},
        {"media_type": "text/plain"},
        {"metadata": {"year": True}},
        {"metadata": {}},
    ],
)
async def test_any_difference_is_published(world: World, change: dict[str, object]) -> None:
    key, sent = world.key(), document(title="A", metadata={"year": 1})
    async with world.serving() as serving:
        await serving.put(sent, key=key)
        assert (await serving.put({**sent, **change}, key=key)).json()["accepted"] == 1
    assert len(world.said()) == 2


async def test_what_the_source_says_of_its_documents_stands_above_the_caller(world: World) -> None:
    async with world.serving(metadata={"product": "ours"}) as serving:
        await serving.put(document(metadata={"product": "theirs", "year": 7}), key=world.key())
    assert world.said() == [put("a.md", metadata={"product": "ours", "year": 7})]


async def test_rules_by_path_choose_the_partition(world: World) -> None:
    async with world.serving() as serving:
        await serving.put(document("hr/pay.md"), document("hr-public.md"), key=world.key())
    assert world.said() == [put("hr/pay.md", level="secret"), put("hr-public.md")]


async def test_a_document_that_moves_is_deleted_for_the_old_readers_first(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        await serving.put(document(), key=key)
        moved = document(partition={"tenant": "acme", "access_level": "secret"})
        assert (await serving.put(moved, key=key)).json()["accepted"] == 1
        listed = (await serving.listed(key)).json()["documents"]
    assert world.said() == [put("a.md"), Deleted(document=ref("a.md")), put("a.md", level="secret")]
    assert [(each["uri"], each["partition"]["access_level"]) for each in listed] == [("a.md", "secret")]


async def test_a_list_says_what_is_held_in_pages(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        await serving.put(*[document(f"guides/{number}.md") for number in range(5)], key=key)
        await serving.put(document("other.md", title="Other", metadata={"year": 3}), key=key)
        first = (await serving.listed(key, prefix="guides/", limit=3)).json()
        rest = (await serving.listed(key, prefix="guides/", limit=3, after=first["next"])).json()
        one = (await serving.listed(key, uri="other.md")).json()
        none = await serving.listed(key, uri="absent.md")
    assert [each["uri"] for each in first["documents"]] == ["guides/0.md", "guides/1.md", "guides/2.md"]
    assert ([each["uri"] for each in rest["documents"]], rest["next"]) == (["guides/3.md", "guides/4.md"], None)
    assert one["documents"] == [
        {
            "uri": "other.md",
            "sha256": hashlib.sha256(b"hello").hexdigest(),
            "size": 5,
            "media_type": "text/markdown",
            "title": "Other",
            "partition": {"tenant": "acme", "access_level": "public"},
            "metadata": {"year": 3},
        }
    ]
    assert (none.status_code, none.json()["code"]) == (404, "document_unknown")


async def test_a_deleted_document_is_gone_and_a_second_time_unknown(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        await serving.put(document(), key=key)
        first, second = await serving.delete("a.md", key=key), await serving.delete("a.md", key=key)
        left = await serving.uris(key)
    assert (first.status_code, second.status_code, left) == (202, 404, [])
    assert world.said() == [put("a.md"), Deleted(document=ref("a.md"))]


async def test_many_are_deleted_and_absent_ones_are_unchanged(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        await serving.put(document("a.md"), document("b.md"), document("c.md"), key=key)
        answer = await serving.delete("a.md", "absent.md", "c.md", key=key)
        left = await serving.uris(key)
    assert [each["result"] for each in answer.json()["results"]] == ["accepted", "unchanged", "accepted"]
    assert left == ["b.md"]


async def test_a_restart_reads_what_is_held_from_the_log(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        await serving.put(document("a.md"), document("b.md"), document("c.md"), key=key)
        await serving.put(document("b.md", partition={"tenant": "acme", "access_level": "secret"}), key=key)
        await serving.delete("c.md", key=key)
        before = (await serving.listed(key)).json()
    async with world.serving() as serving:
        assert (await serving.listed(key)).json() == before
        assert (await serving.put(document("a.md"), key=key)).json()["unchanged"] == 1
        assert serving.reception.taking.catalogue.count() == 2


async def test_documents_of_other_sources_are_not_listed(world: World) -> None:
    key = world.key()
    async with world.serving(name="other") as serving:
        await serving.put(document("theirs.md"), key=key)
    async with world.serving() as serving:
        assert await serving.uris(key) == []
        assert (await serving.delete("theirs.md", key=key)).status_code == 404


async def test_bytes_that_the_blob_store_lost_are_taken_again(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        await serving.put(document(), key=key)
        digest = hashlib.sha256(b"hello").hexdigest()
        for found in [path for path in (world.folder / "blobs").rglob("*") if path.is_file()]:
            found.unlink()
        assert (await serving.put(document(), key=key)).json()["accepted"] == 1
    assert await world.blobs.get(digest) == b"hello"
