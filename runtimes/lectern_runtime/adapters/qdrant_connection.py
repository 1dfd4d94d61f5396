"""Calls of one Qdrant server: bounded in time, errors as the store's, credentials as their files hold them now.

qdrant-client speaks REST here. It takes a second or two to load, so only the store's modules import it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx
from qdrant_client import AsyncQdrantClient

from lectern_contract.errors import DependencyError
from lectern_contract.settings import QdrantStore
from lectern_runtime.adapters.qdrant_errors import told
from lectern_runtime.adapters.renewed import Credentials, Renewed, shown
from lectern_runtime.errors import StoreError

T = TypeVar("T")
READ_SECONDS = 10.0
WRITE_SECONDS = 60.0
MOST_CONNECTIONS = 16


class QdrantConnection:
    """The server of `settings`; connects when it is asked."""

    def __init__(
        self, settings: QdrantStore, *, read_seconds: float = READ_SECONDS, write_seconds: float = WRITE_SECONDS
    ) -> None:
        self._read_seconds, self._write_seconds = read_seconds, write_seconds
        self._shown = shown(settings.url)
        self._url = settings.url
        self._clients: Renewed[AsyncQdrantClient] = Renewed(
            self._client,
            _close,
            dependency="vector-store",
            key_file=settings.api_key_file,
            ca_file=settings.ca_file,
            encrypted=settings.url.startswith("https:"),
        )
        self._closed = False

    async def read(self, collection: str | None, call: Callable[[AsyncQdrantClient], Awaitable[T]]) -> T:
        """Return what a reading `call` about `collection` gives; raises StoreError, CollectionUnknown included."""
        return await self._bounded(collection, call, self._read_seconds)

    async def write(self, collection: str, call: Callable[[AsyncQdrantClient], Awaitable[T]]) -> T:
        """Return what a writing `call` gives; one that fails may have been done all the same."""
        return await self._bounded(collection, call, self._write_seconds)

    async def close(self) -> None:
        """Close all connections; calls after that raise StoreError."""
        self._closed = True
        await self._clients.close()

    async def _bounded(
        self, collection: str | None, call: Callable[[AsyncQdrantClient], Awaitable[T]], seconds: float
    ) -> T:
        if self._closed:
            raise StoreError("the vector store was closed; open it again before further calls")
        try:
            async with self._clients.client() as client:
                with told(self._shown, collection, seconds=seconds):
                    async with asyncio.timeout(seconds):
                        return await call(client)
        except StoreError:
            raise
        except DependencyError as error:
            raise StoreError(str(error)) from error

    def _client(self, credentials: Credentials) -> AsyncQdrantClient:
        return AsyncQdrantClient(
            url=self._url,
            timeout=int(self._write_seconds) or 1,
            # not as `api_key`: the client warns where that goes over HTTP, which is the user's decision
            headers={"api-key": credentials.key} if credentials.key else None,
            check_compatibility=False,
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
            verify=credentials.tls,
            trust_env=False,
        )


async def _close(client: AsyncQdrantClient) -> None:
    await client.close()
