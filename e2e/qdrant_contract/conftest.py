"""The server under contract, a client of it, and collections that live for one test."""

import os
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from qdrant_client import AsyncQdrantClient

from e2e.qdrant_contract.worlds import Collection, make
from e2e.testbed.qdrant_double import qdrant_double

DOUBLES_KEY = "the-doubles-key"


@dataclass(frozen=True)
class Server:
    """Where the server is, and what it asks for."""

    url: str
    api_key: str | None = field(repr=False)

    def client(self, api_key: str | None) -> AsyncQdrantClient:
        """A client of the server with this key instead of the right one."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
            return AsyncQdrantClient(url=self.url, api_key=api_key, timeout=30, check_compatibility=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this directory in one event loop, so that one client with its connections serves them all."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def qdrant_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that QDRANT_URL names, or the double."""
    url = os.environ.get("QDRANT_URL")
    if url:
        yield Server(url, os.environ.get("QDRANT_API_KEY"))
        return
    with qdrant_double(tmp_path_factory.mktemp("qdrant"), DOUBLES_KEY) as double:
        yield Server(double.url, double.api_key)


@pytest.fixture
def qdrant_url(qdrant_server: Server) -> str:
    """The server's address."""
    return qdrant_server.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def qdrant(qdrant_server: Server) -> AsyncIterator[AsyncQdrantClient]:
    """A client with the right key."""
    client = qdrant_server.client(qdrant_server.api_key)
    try:
        yield client
    finally:
        await client.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def http(qdrant_server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP to the server with the right key, for what the client cannot send."""
    headers = {} if qdrant_server.api_key is None else {"api-key": qdrant_server.api_key}
    async with httpx.AsyncClient(base_url=qdrant_server.url, headers=headers, timeout=30) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def name(qdrant: AsyncQdrantClient) -> AsyncIterator[str]:
    """A collection name of the test's own; a collection of that name is removed afterwards, with its aliases."""
    unique = f"contract-{uuid.uuid4().hex[:12]}"
    yield unique
    await qdrant.delete_collection(unique)


@pytest_asyncio.fixture(loop_scope="session")
async def collection(qdrant: AsyncQdrantClient, name: str) -> Collection:
    """A collection with custom sharding, a dense and a sparse vector, and the one shard key `small`."""
    return await make(qdrant, name)
