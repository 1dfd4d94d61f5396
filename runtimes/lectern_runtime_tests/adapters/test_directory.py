"""The directory blob store keeps the contract of every blob store and leaves whole files only."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.errors import BlobStoreError
from lectern_runtime_tests.contracts.blob_contract import BlobContract, Damage, MakeBlobs


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


class TestDirectoryBlobs(BlobContract):
    @pytest.fixture
    def make_blobs(self, quick_path: Path) -> MakeBlobs:
        return lambda: DirectoryBlobs.open(quick_path / "blobs")

    @pytest.fixture
    def damage(self, quick_path: Path) -> Damage:
        async def damage(sha256: str, content: bytes) -> None:
            (quick_path / "blobs" / "sha256" / sha256[:2] / sha256[2:]).write_bytes(content)

        return damage


async def test_files_fan_out_by_the_first_two_digits(quick_path: Path) -> None:
    blobs = await DirectoryBlobs.open(quick_path)
    digest = await blobs.put(b"alpha")
    await blobs.write_named("manifests/ns.files.json", b"{}")
    assert digest == hashlib.sha256(b"alpha").hexdigest()
    assert files(quick_path) == {f"sha256/{digest[:2]}/{digest[2:]}", "named/manifests/ns.files.json"}


async def test_what_a_killed_writer_left_is_removed_once_it_is_old(quick_path: Path) -> None:
    (quick_path / "new").mkdir()
    old, young = quick_path / "new" / "old", quick_path / "new" / "young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    await DirectoryBlobs.open(quick_path)
    assert files(quick_path) == {"new/young"}


async def test_a_write_that_fails_leaves_the_object_and_no_rest(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = await DirectoryBlobs.open(quick_path)
    await blobs.write_named("manifest", b"old")

    def no_space(_: Path, __: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(BlobStoreError, match="No space left on device"):
        await blobs.write_named("manifest", b"new")
    assert await blobs.read_named("manifest") == b"old"
    assert files(quick_path) == {"named/manifest"}


async def test_a_path_that_is_a_file_is_a_clear_error(quick_path: Path) -> None:
    (quick_path / "file").write_bytes(b"")
    with pytest.raises(BlobStoreError, match="permissions"):
        await DirectoryBlobs.open(quick_path / "file" / "blobs")
