"""Buckets of one test: made, filled, damaged and read by the owner of the server."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.testbed.s3 import REGION, S3, Keys
from lectern_contract.settings import S3Blobs
from lectern_contract.source_settings import S3Source
from lectern_runtime.adapters.s3_client import S3Client
from lectern_runtime.errors import BlobStoreError

_numbers = itertools.count()


@dataclass(frozen=True)
class Bucket:
    """A bucket of `server`, with the files of the keys in `files`."""

    server: S3
    name: str
    files: Path

    def blobs(self, prefix: str = "", **more: str | None) -> S3Blobs:
        """Settings of a blob store in this bucket."""
        return S3Blobs(prefix=prefix, **{**self._where(), **more})  # type: ignore[arg-type]

    def source(self, prefix: str = "", **more: str | None) -> S3Source:
        """Settings of a source in this bucket."""
        return S3Source(prefix=prefix, **{**self._where(), **more})  # type: ignore[arg-type]

    def client(self) -> S3Client:
        """A client of the owner."""
        return S3Client(self.blobs(), field="spec.test", failed=BlobStoreError, dependency="test")

    async def put(self, key: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Write an object as the owner, with headers that the server keeps beside it."""
        client = self.client()
        refusal = await client.put(key, data, sha256=hashlib.sha256(data).hexdigest(), headers=headers)
        await client.close()
        assert refusal is None

    async def delete(self, key: str) -> None:
        """Delete an object as the owner."""
        client = self.client()
        assert await client.delete(key) is None
        await client.close()

    async def keys(self) -> list[str]:
        """Keys of all objects."""
        client = self.client()
        found = [entry.shown async for entry in client.list("")]
        await client.close()
        return found

    async def make(self) -> None:
        """Make the bucket itself; a PUT without a key is what makes one."""
        client = self.client()
        refusal = await client.put("", b"", sha256=hashlib.sha256(b"").hexdigest())
        await client.close()
        assert refusal is None

    def use(self, keys: Keys) -> None:
        """Write `keys` where the settings say, as a renewed Secret does."""
        for name, value in (("access-key-id", keys.access_key_id), ("secret-access-key", keys.secret_access_key)):
            (self.files / name).write_text(f"{value}\n")

    def _where(self) -> dict[str, str | None]:
        return {
            "endpoint": self.server.url,
            "bucket": self.name,
            "region": REGION,
            "access_key_id_file": str(self.files / "access-key-id"),
            "secret_access_key_file": str(self.files / "secret-access-key"),
            "ca_file": None if self.server.ca is None else str(self.server.ca),
        }


async def bucket(server: S3, files: Path) -> Bucket:
    """Make a new bucket with a name of its own on `server`."""
    made = Bucket(server, f"test-{next(_numbers)}-{hashlib.sha256(str(files).encode()).hexdigest()[:12]}", files)
    made.use(server.owner)
    await made.make()
    return made
