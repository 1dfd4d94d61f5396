"""What every `BlobStore` promises.

A test module derives from the suite and gives it `make_blobs`, which opens the same storage at every call, and
`damage`, which changes the stored bytes of a digest behind the store's back.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lectern_contract.errors import ConfigurationError
from lectern_runtime.errors import BlobDamaged, BlobMissing
from lectern_runtime.ports import BlobStore

MakeBlobs = Callable[[], Awaitable[BlobStore]]
Damage = Callable[[str, bytes], Awaitable[None]]
ABSENT = hashlib.sha256(b"never stored").hexdigest()


class BlobContract:
    @pytest.fixture
    async def blobs(self, make_blobs: MakeBlobs) -> AsyncIterator[BlobStore]:
        blobs = await make_blobs()
        yield blobs
        await blobs.close()

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.binary(max_size=4096))
    async def test_bytes_come_back_under_their_digest(self, blobs: BlobStore, data: bytes) -> None:
        sha256 = await blobs.put(data)
        assert sha256 == hashlib.sha256(data).hexdigest()
        assert await blobs.get(sha256) == data
        assert await blobs.exists(sha256)

    async def test_storing_again_changes_nothing(self, blobs: BlobStore) -> None:
        first = await blobs.put(b"alpha")
        assert await blobs.put(b"alpha") == first
        assert await blobs.get(first) == b"alpha"

    async def test_everything_is_there_after_reopening(self, blobs: BlobStore, make_blobs: MakeBlobs) -> None:
        sha256 = await blobs.put(b"alpha" * 100_000)
        await blobs.write_named("manifests/ns.files.json", b"{}")
        await blobs.close()
        again = await make_blobs()
        assert await again.get(sha256) == b"alpha" * 100_000
        assert await again.read_named("manifests/ns.files.json") == b"{}"
        await again.close()

    async def test_absent_bytes_are_missing(self, blobs: BlobStore) -> None:
        assert not await blobs.exists(ABSENT)
        with pytest.raises(BlobMissing, match=ABSENT):
            await blobs.get(ABSENT)

    @pytest.mark.parametrize("digest", ["", "../../etc/passwd", "AB" * 32, ABSENT[:-1], ABSENT + "0", f"{ABSENT}\n"])
    async def test_what_is_no_digest_is_missing(self, blobs: BlobStore, digest: str) -> None:
        with pytest.raises(BlobMissing):
            await blobs.get(digest)

    @pytest.mark.parametrize("changed", [b"", b"alphA", b"alpha and more"])
    async def test_damaged_bytes_are_never_given_out_and_heal_when_put_again(
        self, blobs: BlobStore, damage: Damage, changed: bytes
    ) -> None:
        sha256 = await blobs.put(b"alpha")
        await damage(sha256, changed)
        with pytest.raises(BlobDamaged, match=sha256):
            await blobs.get(sha256)
        assert await blobs.put(b"alpha") == sha256
        assert await blobs.get(sha256) == b"alpha"

    async def test_a_named_object_is_replaced(self, blobs: BlobStore) -> None:
        name = "manifests/team-a.wiki.json"
        assert await blobs.read_named(name) is None
        for content in (b"one, and longer", b"", b"two"):
            await blobs.write_named(name, content)
            assert await blobs.read_named(name) == content

    async def test_named_objects_are_apart_from_each_other_and_from_bytes(self, blobs: BlobStore) -> None:
        sha256 = await blobs.put(b"alpha")
        await blobs.write_named(sha256, b"named")
        await blobs.write_named("a/b", b"1")
        await blobs.write_named("a/c", b"2")
        assert await blobs.get(sha256) == b"alpha"
        assert [await blobs.read_named(name) for name in (sha256, "a/b", "a/c", "a/d")] == [b"named", b"1", b"2", None]

    async def test_many_named_objects_are_listed_in_the_order_of_their_whole_names(self, blobs: BlobStore) -> None:
        names = sorted([f"runs/a/{number:04}" for number in range(300)] + ["runs/a-b", "runs/a.c", "runs/a/0/x.y"])
        names.remove("runs/a/0000")
        for start in range(0, len(names), 100):
            await asyncio.gather(*(blobs.write_named(name, b"") for name in reversed(names[start : start + 100])))
        assert [name async for name in blobs.list_named("runs/")] == names

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "/",
            "/etc/passwd",
            "../x",
            "a/../x",
            "a/..",
            "a//b",
            "a/",
            ".hidden",
            "a\\b",
            "a\n",
            "a\0b",
            "a/b/c/d/e",
            "é",
        ],
    )
    async def test_names_that_could_lead_elsewhere_are_refused(self, blobs: BlobStore, name: str) -> None:
        with pytest.raises(ConfigurationError):
            await blobs.write_named(name, b"x")
        with pytest.raises(ConfigurationError):
            await blobs.read_named(name)
        with pytest.raises(ConfigurationError):
            await blobs.delete_named(name)

    async def test_named_objects_are_listed_by_the_parts_that_their_names_begin_with(self, blobs: BlobStore) -> None:
        names = {f"runs/ns.files/1/{number}" for number in range(5)} | {"runs/ns.files/2/0"}
        for name in (*names, "runs/ns.files2/1/0", "runs/ns.other/1/0", "manifests/ns.files.json"):
            await blobs.write_named(name, b"x")
        assert {name async for name in blobs.list_named("runs/ns.files/")} == names
        assert [name async for name in blobs.list_named("runs/ns.files/2/")] == ["runs/ns.files/2/0"]
        assert [name async for name in blobs.list_named("runs/ns.absent/")] == []

    async def test_a_removed_object_is_gone_and_removing_it_again_is_no_fault(self, blobs: BlobStore) -> None:
        await blobs.write_named("runs/a/1", b"x")
        await blobs.write_named("runs/a/2", b"y")
        for _ in range(2):
            await blobs.delete_named("runs/a/1")
        assert await blobs.read_named("runs/a/1") is None
        assert [name async for name in blobs.list_named("runs/a/")] == ["runs/a/2"]
        await blobs.write_named("runs/a/1", b"z")
        assert await blobs.read_named("runs/a/1") == b"z"

    @pytest.mark.parametrize("prefix", ["", "/", "runs", "../", "runs/../", "runs//", ".hidden/"])
    async def test_a_prefix_that_could_lead_elsewhere_is_refused(self, blobs: BlobStore, prefix: str) -> None:
        with pytest.raises(ConfigurationError):
            [name async for name in blobs.list_named(prefix)]

    async def test_a_reader_never_sees_half_of_a_replacement(self, blobs: BlobStore) -> None:
        versions = {bytes([number]) * 200_000 for number in range(8)}
        await blobs.write_named("manifest", bytes([0]) * 200_000)

        async def read() -> list[bytes | None]:
            return [await blobs.read_named("manifest") for _ in range(30)]

        reading = asyncio.create_task(read())
        await asyncio.gather(*(blobs.write_named("manifest", each) for each in sorted(versions)))
        assert set(await reading) <= versions

    async def test_many_puts_at_once_are_all_kept(self, blobs: BlobStore) -> None:
        contents = [f"text {number % 25}".encode() for number in range(100)]
        digests = await asyncio.gather(*(blobs.put(each) for each in contents))
        assert [await blobs.get(each) for each in digests] == contents
