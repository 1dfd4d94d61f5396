"""Servers behind TLS: a runtime trusts the authority of its file and no other, and takes a new one as it comes."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from e2e.testbed import certificates
from lectern_contract.errors import DependencyError
from lectern_contract.settings import EmbedderSettings, ModelServerSettings, QdrantStore
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.qdrant import QdrantVectorStore

VECTOR = [1.0, 0.0]
INFO = {
    "model_id": "m",
    "model_sha": None,
    "max_input_length": 9,
    "max_client_batch_size": 2,
    "max_batch_tokens": 99,
}


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """The port of a server that knows of no alias and embeds everything alike."""
    files = certificates.ensure(tmp_path / "server")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.server_certificate, files.server_key)

    async def aliases(request: web.Request) -> web.StreamResponse:
        return web.json_response({"result": {"aliases": []}, "status": "ok", "time": 0.0})

    async def info(request: web.Request) -> web.StreamResponse:
        return web.json_response(INFO)

    async def embed(request: web.Request) -> web.StreamResponse:
        return web.json_response([VECTOR for _ in (await request.json())["inputs"]])

    app = web.Application()
    app.add_routes([web.get("/aliases", aliases), web.get("/info", info), web.post("/embed", embed)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    """A file that holds another authority than the server's."""
    file = tmp_path / "ca.pem"
    file.write_bytes(certificates.ensure(tmp_path / "other").ca.read_bytes())
    return file


def put_right(ca: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.pem"
    new.write_bytes((tmp_path / "server" / "ca.crt").read_bytes())
    new.replace(ca)


async def test_a_store_is_trusted_by_the_authority_of_its_file_as_it_is_now(
    port: int, ca: Path, tmp_path: Path
) -> None:
    settings = QdrantStore(url=f"https://127.0.0.1:{port}", shard_by="Tenant", api_key_file=None, ca_file=str(ca))
    store = QdrantVectorStore.open(settings)
    with pytest.raises(DependencyError, match=r"not trusted .* check spec\.vectorStore\.caSecretRef"):
        await store.aliases()
    put_right(ca, tmp_path)
    assert await store.aliases() == {}
    await store.close()


async def test_an_embedding_server_is_trusted_by_the_authority_of_its_file_as_it_is_now(
    port: int, ca: Path, tmp_path: Path
) -> None:
    source = ModelServerSettings(url=f"https://127.0.0.1:{port}", protocol="TEI", api_key_file=None, ca_file=str(ca))
    embedder = compose.open_embedder(
        EmbedderSettings(
            model="m",
            revision="",
            dimensions=len(VECTOR),
            max_input_tokens=9,
            query_prefix="",
            document_prefix="",
            source=source,
        )
    )
    with pytest.raises(DependencyError, match=r"not trusted .* check caSecretRef"):
        await embedder.info()
    put_right(ca, tmp_path)
    assert (await embedder.embed(["one", "two", "three"])).tolist() == [VECTOR] * 3
    await embedder.close()
