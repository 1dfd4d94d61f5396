"""One question to a vendor's API: bounds, odd answers, and where a token never goes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from pydantic import BaseModel

from lectern_runtime.ingest.cloud import rest
from lectern_runtime.ingest.cloud.folders import Folders
from lectern_runtime.ingest.cloud.latest import Latest
from lectern_runtime.ingest.cloud.rest import Refusal, Rest
from lectern_runtime.ingest.cloud.session import Session, Token
from lectern_runtime.ingest.connector import SourceUnavailable
from lectern_runtime.ingest.retries import Retries
from lectern_runtime_tests.ingest.web_server import Answers, Said, WebServer, serving

ADDRESS = "127.0.0.1"


class Answer(BaseModel):
    value: int


@asynccontextmanager
async def api(
    pages: Mapping[str, Said | Answers], *, root: str = "/v1", seconds: float = 10.0
) -> AsyncIterator[tuple[WebServer, Rest]]:
    async def nothing(_seconds: float = 0.0) -> None:
        """No waiting in tests."""

    async with serving(pages, address=ADDRESS) as server:
        client = rest.open_client([server.url(root, ADDRESS)])
        retries = Retries(attempts=2, sleep=nothing)
        base = server.url(root, ADDRESS)
        yield server, Rest("the API", base, client, nothing, lambda: 0.0, retries, lambda _: "why", seconds=seconds)
        await client.aclose()


async def ask(server: WebServer, found: Rest, path: str) -> int:
    return (await found.json(Answer, server.url(path, ADDRESS), headers={"Authorization": "Bearer secret"})).value


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (Said(b"no json"), r"an answer of the API has no usable JSON; see"),
        (Said(b'{"value": "x"}'), r"has no usable value; see"),
        (Said(b"[" * 100_000), r"has no usable"),
        (Said(b'{"value": 1}', headers={"Content-Encoding": "br"}), r"comes in an encoding that nobody asked for; see"),
        (Said(status=503), r"the API cannot answer now \(HTTP 503\); see its quota"),
    ],
)
async def test_an_answer_of_no_use_is_told(said: Said, message: str) -> None:
    async with api({"/v1/a": said}) as (server, found):
        with pytest.raises(SourceUnavailable, match=message):
            await ask(server, found, "/v1/a")


async def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MAX_ANSWER_BYTES", 1000)
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 64 << 20:
            await response.write(b" " * 65536)
            sent += 65536
        return response

    async with api({"/v1/a": endless}) as (server, found):
        with pytest.raises(SourceUnavailable, match="is longer than 1000 bytes"):
            await ask(server, found, "/v1/a")
    assert sent < 64 << 20


async def test_an_answer_that_is_shorter_than_it_says_is_asked_again_and_given_up() -> None:
    asked = 0

    async def short(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"value": 1}')
        assert request.transport is not None
        request.transport.close()
        return response

    async with api({"/v1/a": short}) as (server, found):
        with pytest.raises(SourceUnavailable, match=r"the API cannot be reached \(RemoteProtocolError\); see"):
            await ask(server, found, "/v1/a")
    assert asked == 2


async def test_of_an_answer_that_is_longer_than_it_says_the_rest_is_left_out() -> None:
    async def long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"value": 1}, and more')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(long, ADDRESS, 0)
    async with server, api({}) as (_, found):
        root = f"http://{ADDRESS}:{server.sockets[0].getsockname()[1]}/v1"
        asked = dataclasses.replace(found, root=root)
        assert (await asked.json(Answer, f"{root}/a", headers={})).value == 1


@pytest.mark.parametrize(("jump", "obtained"), [(0.0, 1), (-1e9, 1), (1e9, 2)])
async def test_a_clock_that_jumps_costs_at_most_one_more_token(jump: float, obtained: int) -> None:
    now, tokens = 1e9, 0

    async def obtain() -> Token:
        nonlocal tokens
        tokens += 1
        return Token(access_token=f"t{tokens}", expires_in=3600)

    async with api({"/v1/a": Said(b'{"value": 1}')}) as (server, found):
        session = Session(found, obtain, lambda: now)
        assert (await session.json(Answer, server.url("/v1/a", ADDRESS))).value == 1
        now += jump
        assert (await session.json(Answer, server.url("/v1/a", ADDRESS))).value == 1
    assert tokens == obtained


async def test_an_answer_that_never_ends_is_given_up() -> None:
    ended = asyncio.Event()

    async def silent(_request: web.Request) -> web.StreamResponse:
        await ended.wait()
        return web.Response()

    async with api({"/v1/a": silent}, seconds=0.2) as (server, found):
        with pytest.raises(SourceUnavailable, match=r"does not end its answer in 0 s; see its state"):
            await ask(server, found, "/v1/a")
        ended.set()


@pytest.mark.parametrize("path", ["/v2/a", "/", "/v1/../v2/a"])
async def test_a_token_goes_nowhere_but_below_the_root(path: str) -> None:
    async with api({}) as (server, found):
        with pytest.raises(SourceUnavailable, match="to which no token goes"):
            await ask(server, found, path)
        assert server.asked == []


async def test_a_redirect_is_handed_back_and_not_followed() -> None:
    said = Said(status=302, headers={"Location": "https://elsewhere.test/?ticket"})
    async with api({"/v1/a": said}) as (server, found):
        with pytest.raises(Refusal) as caught:
            await ask(server, found, "/v1/a")
        assert (caught.value.status, caught.value.location) == (302, "https://elsewhere.test/?ticket")
        assert "ticket" not in str(caught.value)


@pytest.mark.parametrize("root", ["", "ftp://host/", "https:///x"])
def test_a_root_that_is_no_address_is_told(root: str) -> None:
    with pytest.raises(SourceUnavailable, match="correct the source's settings"):
        rest.open_client([root])


async def test_a_metadata_address_is_not_asked() -> None:
    async with api({}) as (_, found):
        client = rest.open_client(["http://169.254.169.254/"])
        asked = dataclasses.replace(found, root="http://169.254.169.254/", client=client)
        with pytest.raises(SourceUnavailable, match=r"is at an address that is not asked \(AddressRefused\)"):
            await asked.data("http://169.254.169.254/latest", headers={}, limit=10)
        await client.aclose()


# ------------------------------------------------------------------------------------ what is kept


def test_folders_are_read_back_as_they_were_written() -> None:
    written = Folders()
    for number in range(100):
        written.note(f"id-{number}", parent="p", name=f"n-{number}", restricted=number % 2 == 0)
    read = Folders.read(written.text())
    assert read.text() == written.text()
    assert read.known
    assert "id-7" in read
    assert read.same("id-7", parent="p", name="n-7", restricted=False)
    for facts in (("q", "n-7", False), ("p", "n-8", False), ("p", "n-7", True)):
        assert not read.same("id-7", parent=facts[0], name=facts[1], restricted=facts[2])
    assert "id-100" not in read


@pytest.mark.parametrize("text", ["", "not base64!", "AAAA"])
def test_of_a_text_that_is_none_nothing_is_known(text: str) -> None:
    read = Folders.read(text)
    read.note("a", parent="", name="", restricted=False)
    assert (read.known, "a" in read, read.text()) == (False, False, "")


async def test_of_what_is_put_aside_the_last_of_each_id_comes_back(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("spool")))
    latest = Latest()
    await latest.put([(f"id-{number % 500}", str(number)) for number in range(2000)])
    await latest.put([("id-3", "last\u2028line")])
    expected = {f"id-{number}": str(number + 1500) for number in range(500)} | {"id-3": "last\u2028line"}
    assert dict([row async for row in latest.rows()]) == expected
    await latest.close()
    await latest.close()
    assert [row async for row in latest.rows()] == []
