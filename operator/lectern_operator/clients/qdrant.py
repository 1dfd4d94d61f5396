"""Asks a Qdrant server what the collections of a knowledge base are like, and makes them so.

Every call is bounded in time and nothing is raised for what a server says or does not say: looks are facts, steps too.
Nothing is remembered between two looks but open connections, of a bounded number of servers.

qdrant-client is loaded when a server is asked for the first time, beside the event loop: it is large.
"""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from lectern_contract.resources.status import DocumentCounts, SourceDocuments
from lectern_operator.facts import Fact, Unknown
from lectern_operator.facts.vector_store import ObservedCollection, Step, StoreState, Subject, Unreachable

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

T = TypeVar("T")
LOOK_SECONDS = 5.0
STEP_SECONDS = 20.0
AT_ONCE = 8
"""Looks and steps at one server at the same time."""
MOST_KEPT = 32
"""Servers whose connections are kept open."""
_CONNECTION = "lectern_operator.clients.qdrant_connection"


@dataclass(frozen=True, slots=True)
class StoreServer:
    """Where a server answers and how to be let in; `ca` is PEM text, None for the system's authorities."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Open:
    """Connections to one server; `users` of them are under way."""

    client: AsyncQdrantClient
    slots: asyncio.Semaphore
    users: int = 0


@asynccontextmanager
async def open_stores() -> AsyncIterator[Stores]:
    """Yield the client, and close its connections at the end of the block."""
    stores = Stores()
    try:
        yield stores
    finally:
        await stores.close()


class Stores:
    """Looks at Qdrant servers and changes collections, aliases and shard keys."""

    def __init__(self) -> None:
        self._open: OrderedDict[StoreServer, _Open] = OrderedDict()

    async def look(self, server: StoreServer, subject: Subject) -> Fact[StoreState]:
        """Return what is there of `subject`, within `LOOK_SECONDS`."""
        reading = await _module("lectern_operator.clients.qdrant_reading")

        async def act(qdrant: AsyncQdrantClient) -> Fact[StoreState]:
            found: Fact[StoreState] = await reading.look(qdrant, subject)
            return found

        return await self._with(server, LOOK_SECONDS, act)

    async def documents(self, server: StoreServer, found: ObservedCollection) -> Fact[DocumentCounts]:
        """Return how many documents a collection has, by state, within `LOOK_SECONDS`."""
        reading = await _module("lectern_operator.clients.qdrant_documents")

        async def act(qdrant: AsyncQdrantClient) -> Fact[DocumentCounts]:
            counted: Fact[DocumentCounts] = await reading.documents(qdrant, found)
            return counted

        return await self._with(server, LOOK_SECONDS, act)

    async def by_source(self, server: StoreServer, found: ObservedCollection) -> Fact[tuple[SourceDocuments, ...]]:
        """Return the documents of each source that has any, by name, within `LOOK_SECONDS`."""
        reading = await _module("lectern_operator.clients.qdrant_documents")

        async def act(qdrant: AsyncQdrantClient) -> Fact[tuple[SourceDocuments, ...]]:
            counted: Fact[tuple[SourceDocuments, ...]] = await reading.by_source(qdrant, found)
            return counted

        return await self._with(server, LOOK_SECONDS, act)

    async def perform(self, server: StoreServer, step: Step) -> Fact[None]:
        """Take `step`, within `STEP_SECONDS`; an Unknown says why it was not taken."""
        steps = await _module("lectern_operator.clients.qdrant_steps")

        async def act(qdrant: AsyncQdrantClient) -> Fact[None]:
            done: Fact[None] = await steps.take(qdrant, step)
            return done

        return await self._with(server, STEP_SECONDS, act)

    async def close(self) -> None:
        """Close every connection."""
        while self._open:
            await self._open.popitem()[1].client.close()

    async def _with(
        self, server: StoreServer, seconds: float, act: Callable[[AsyncQdrantClient], Awaitable[Fact[T]]]
    ) -> Fact[T]:
        """Run `act` with a client of `server` and turn everything that can go wrong into an Unknown."""
        connection = await _module(_CONNECTION)
        try:
            used = self._used(server, lambda: connection.client(server, _tls(server), seconds=STEP_SECONDS))
            async with asyncio.timeout(seconds), used as opened, opened.slots:
                return await act(opened.client)
        except ssl.SSLError as error:
            return Unknown(f"spec.vectorStore.caSecretRef holds no PEM certificate ({error.reason})")
        except TimeoutError:
            return Unreachable(f"{server.url} keeps silent for {seconds:.0f} s")
        except connection.FAILURES as error:
            explained: Unknown = connection.explained(server.url, error)
            return explained

    @asynccontextmanager
    async def _used(self, server: StoreServer, make: Callable[[], AsyncQdrantClient]) -> AsyncIterator[_Open]:
        opened = self._open.get(server)
        if opened is None:
            opened = self._open[server] = _Open(make(), asyncio.Semaphore(AT_ONCE))
        self._open.move_to_end(server)
        opened.users += 1
        try:
            yield opened
        finally:
            opened.users -= 1
            await self._close_unused()

    async def _close_unused(self) -> None:
        """Close connections to servers that were not asked for long; a key that was changed is never used again."""
        idle = [server for server, opened in self._open.items() if not opened.users]
        for server in idle[: max(0, len(self._open) - MOST_KEPT)]:
            await self._open.pop(server).client.close()


async def _module(name: str) -> ModuleType:
    """Return a module that needs qdrant-client; loading it takes seconds the first time."""
    return await asyncio.to_thread(importlib.import_module, name)


def _tls(server: StoreServer) -> ssl.SSLContext:
    """Return how certificates are checked; without TLS the system's need not be read."""
    if server.url.startswith("https:"):
        return ssl.create_default_context(cadata=server.ca or None)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
