"""A blob store in a bucket of an S3 server: bytes under their sha256, and named objects beside them.

`compose` opens it for connectors and workers of a cluster, which may use one bucket at once: the server shows an
object only when it is whole. What speaks to the server is `s3_client`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from lectern_contract.ids import content_digest
from lectern_contract.settings import S3Blobs
from lectern_runtime.adapters import blob_names
from lectern_runtime.adapters.s3_answers import PRESENT, Refusal
from lectern_runtime.adapters.s3_client import TOO_LARGE, S3Client, Timing
from lectern_runtime.errors import BlobDamaged, BlobMissing, BlobStoreError

MAX_OBJECT_BYTES = 5 << 30
"""The largest object that one request can write."""
_FIELD = "spec.blobStore.s3"
_MOST_AT_ONCE = 8  # objects: each holds its bytes in memory


class S3BlobStore:
    """The `BlobStore` in a bucket: bytes in `<prefix>sha256/…`, named objects in `<prefix>named/…`."""

    def __init__(self, client: S3Client, prefix: str) -> None:
        self._client = client
        self._prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self._conditional = True

    @classmethod
    def open(cls, settings: S3Blobs, timing: Timing | None = None) -> S3BlobStore:
        """Return the store; the server is not asked before the first call."""
        client = S3Client(settings, field=_FIELD, failed=BlobStoreError, dependency="blob-store", timing=timing)
        return cls(client, settings.prefix)

    async def put(self, data: bytes) -> str:
        """Store `data` durably and return its hex sha256; what is there already is kept, unless it is damaged.

        Raises BlobStoreError.
        """
        sha256 = await asyncio.to_thread(content_digest, data)
        key = self._blob(sha256)
        async with self._slots:
            if await self._put_new(key, data, sha256) or await self._read(key) == data:
                return sha256
            await self._write(key, data, sha256)
        return sha256

    async def get(self, sha256: str) -> bytes:
        """The bytes; raises BlobMissing, BlobDamaged when they no longer have that digest, or BlobStoreError."""
        key = self._blob(sha256)
        async with self._slots:
            data = await self._read(key)
            if data is None:
                raise BlobMissing(sha256)
            if await asyncio.to_thread(content_digest, data) != sha256:
                raise BlobDamaged(sha256)
        return data

    async def exists(self, sha256: str) -> bool:
        """Whether the bytes are there; they are not read."""
        # A HEAD request has no body, which would say whether the object or the whole bucket is absent.
        found = await self._client.get(self._blob(sha256), limit=0)
        if isinstance(found, Refusal) and found.code not in (TOO_LARGE, "NoSuchKey"):
            raise self._client.error(found, "read")
        return not isinstance(found, Refusal) or found.code == TOO_LARGE

    async def write_named(self, name: str, data: bytes) -> None:
        """Replace the object `name` atomically and durably. Raises ConfigurationError for a name outside the rules."""
        key = self._object(name)
        async with self._slots:
            await self._write(key, data, await asyncio.to_thread(content_digest, data))

    async def read_named(self, name: str) -> bytes | None:
        """The object `name`, or None."""
        key = self._object(name)
        async with self._slots:
            return await self._read(key)

    async def list_named(self, prefix: str) -> AsyncIterator[str]:
        """Names of the objects below `prefix`, in order. Raises ConfigurationError for a prefix outside the rules."""
        begin = f"{self._prefix}named/"
        async for entry in self._client.list(begin + blob_names.folder(prefix)):
            name = "" if entry.key is None else entry.key.removeprefix(begin)
            if blob_names.is_name(name):
                yield name

    async def delete_named(self, name: str) -> None:
        """Remove the object `name`; nothing when there is none."""
        if (refusal := await self._client.delete(self._object(name))) is not None:
            raise self._client.error(refusal, "delete")

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    # ------------------------------------------------------------------------------------- inside

    async def _put_new(self, key: str, data: bytes, sha256: str) -> bool:
        """Say whether the object is written now, because there was none; a server may not know this condition."""
        if not self._conditional:
            return False
        refusal = await self._client.put(key, data, sha256=sha256, only_new=True)
        if refusal is None:
            return True
        if refusal.status == 501 or refusal.code == "NotImplemented":
            self._conditional = False
        elif refusal.code != PRESENT:
            raise self._client.error(refusal, "write")
        return False

    async def _write(self, key: str, data: bytes, sha256: str) -> None:
        if (refusal := await self._client.put(key, data, sha256=sha256)) is not None:
            raise self._client.error(refusal, "write")

    async def _read(self, key: str) -> bytes | None:
        found = await self._client.get(key, limit=MAX_OBJECT_BYTES)
        if not isinstance(found, Refusal):
            return found.data
        if found.code == "NoSuchKey":
            return None
        raise self._client.error(found, "read")

    def _blob(self, sha256: str) -> str:
        return f"{self._prefix}sha256/{blob_names.digest(sha256)}"

    def _object(self, name: str) -> str:
        return f"{self._prefix}named/{blob_names.name(name)}"
