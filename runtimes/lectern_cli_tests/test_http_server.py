"""The server inside the program: a port that it can have, its URL, and the end of it."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from lectern_cli import http_server
from lectern_contract.errors import ConfigurationError
from lectern_runtime import programs


async def test_it_serves_while_the_block_lasts() -> None:
    app = FastAPI()

    @app.get("/")
    async def root() -> str:
        return "here"

    server = programs.listening("127.0.0.1", 0)
    url = http_server.url_of(server)
    async with http_server.serving(app, server), httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(url)).json() == "here"

    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(url)


async def test_an_app_that_cannot_start_is_an_error_and_ends_nothing_else() -> None:
    @asynccontextmanager
    async def broken(app: FastAPI) -> AsyncIterator[None]:
        if app.routes:
            raise RuntimeError("no")
        yield

    server = programs.listening("127.0.0.1", 0)
    with server, pytest.raises(ConfigurationError, match="ended while it started"):
        async with http_server.serving(FastAPI(lifespan=broken), server):
            pytest.fail("it must not serve")


def test_a_taken_port_is_said_with_the_next_step() -> None:
    with programs.listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {port} of 127\.0\.0\.1.*in use; stop what listens there"):
            programs.listening("127.0.0.1", port)


def test_a_port_that_needs_rights_is_said_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", Refusing)

    with pytest.raises(ConfigurationError, match="Permission denied; choose a --port from 1024 on"):
        programs.listening("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:"), ("localhost", "http://"), ("0.0.0.0", "http://127.0.0.1:")],
)
def test_the_url_is_one_that_a_browser_on_this_machine_can_open(host: str, url: str) -> None:
    with programs.listening(host, 0) as server:
        assert http_server.url_of(server).startswith(url)
