"""The http connector against a real web server on loopback: robots, pauses, bounds, and reading pages again."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lectern_contract.errors import ConfigurationError, DocumentError
from lectern_runtime.ingest.connector import Listed, SourceUnavailable
from lectern_runtime.ingest.connectors import http
from lectern_runtime.ingest.retries import TryAgain
from lectern_runtime.ingest.web import origins
from lectern_runtime_tests.ingest.http_world import Waits, connector, listing, page, told
from lectern_runtime_tests.ingest.web_server import Said, html, moved, serving

# ------------------------------------------------------------------------------------------ manners


async def test_robots_are_obeyed_by_server_and_a_named_page_that_they_deny_is_told() -> None:
    pages = {
        "/robots.txt": Said("User-agent: lectern\nDisallow: /private\n"),
        "/": page("/private/link", "/open", "/leads"),
        "/open": page(),
        "/leads": moved("/private/target", 301),
        "/private/named": page(),
    }
    async with serving(pages) as server, connector(server, urls=("/", "/private/named"), max_depth=1) as found:
        items = await told(server, await listing(found))
        assert items == {"/": "", "/private/named": "RobotsDenied", "/open": "", "": "LinksUnknown"}
        assert [path for path in server.paths if path.startswith("/private")] == []
        assert server.paths.count("/robots.txt") == 1
        with pytest.raises(DocumentError, match=r"robots\.txt"):
            await found.fetch(Listed(server.url("/private/named"), "", "", None))


async def test_where_robots_are_out_of_reach_pages_of_that_server_are_kept() -> None:
    async with serving({"/robots.txt": Said(status=503), "/a": page()}) as bad, serving({"/": page()}) as good:
        async with connector(good, urls=("/", bad.url("/a"), bad.url("/b"))) as found:
            items = await listing(found)
        assert [(item.uri, getattr(item, "reason", "")) for item in items] == [
            (good.url("/"), ""),
            (bad.url(""), "RobotsUnreachable"),
        ]
        assert bad.paths == ["/robots.txt"] * 2


async def test_a_crawl_delay_spaces_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits()
    now = [0.0]

    async def sleep(seconds: float) -> None:
        waits.slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(http, "Origins", lambda exchange: origins.Origins(exchange, sleep=sleep, now=lambda: now[0]))
    pages = {"/robots.txt": Said("User-agent: *\nCrawl-delay: 7"), "/": page(), "/a": page(), "/b": page()}
    async with serving(pages) as server, connector(server, urls=("/", "/a", "/b")) as found:
        assert len(await listing(found)) == 3
    assert waits.slept == [7.0, 7.0]


async def test_every_request_passes_the_throttle_and_names_us() -> None:
    waits = Waits()
    pages = {"/": page("/a"), "/a": moved("/b"), "/b": Said(status=500)}
    async with serving(pages) as server, connector(server, waits=waits, max_depth=1) as found:
        await listing(found)
        assert waits.requests == len(server.asked) == 5
        assert {each.headers["User-Agent"].partition("/")[0] for each in server.asked} == {"Lectern"}
        assert {each.headers["Accept-Encoding"] for each in server.asked} == {"gzip"}


async def test_no_cookie_is_kept() -> None:
    pages = {"/": html("text", **{"Set-Cookie": "a=b; Path=/"}), "/a": page()}
    async with serving(pages) as server, connector(server, urls=("/", "/a", "/b", "/c", "/d")) as found:
        await listing(found)
        await listing(found)
        assert len(server.asked) == 12
        assert not any("Cookie" in each.headers for each in server.asked)


async def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    waits = Waits()
    pages: dict[str, Any] = {"/": Said(status=429, headers={"Retry-After": "9"})}
    async with serving(pages) as server, connector(server, waits=waits) as found:
        with pytest.raises(SourceUnavailable):
            await listing(found)
    assert len(waits.slept) == 1
    assert 9.0 <= waits.slept[0] <= 9.5


async def test_hosts_are_compared_in_their_one_form() -> None:
    async with serving({"/": page()}) as server:
        async with connector(server, allowed_hosts=("127.0.0.2", "2001:DB8:0::1", "example.com")) as found:
            assert found._guard.hosts == {"127.0.0.2", "2001:db8::1", "example.com"}
        with pytest.raises(ConfigurationError, match=r"spec\.http: '127\.1' is no host that is asked"):
            async with connector(server, allowed_hosts=("127.1",)):
                raise AssertionError


# ------------------------------------------------------------------------------------------- fetching


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Said(status=404), "Vanished"),
        (Said(status=403), "Refused"),
        (Said(status=500), "ServerFailing"),
        (moved("/b"), "Moved"),
        (html("x" * 2000), "TooLarge"),
    ],
)
async def test_a_page_that_is_kept_no_longer_is_asked_again_and_its_faults_are_its_own(said: Said, reason: str) -> None:
    pages = {"/": html("text"), "/b": html("b")}
    async with serving(pages) as server, connector(server, max_document_bytes=1000) as found:
        (first,) = await listing(found)
        assert isinstance(first, Listed)
        assert (await found.fetch(first)).data == (await found.fetch(first)).data == b"text"
        server.pages["/"] = said
        with pytest.raises(DocumentError) as caught:
            await found.fetch(first)
        assert caught.value.reason == reason


async def test_packed_answers_are_unpacked_and_bombs_are_not() -> None:
    packed = {"Content-Type": "text/html", "Content-Encoding": "gzip"}
    bomb = gzip.compress(bytes(50_000_000))
    pages = {
        "/": Said(gzip.compress(b"text"), headers=packed),
        "/bomb": Said(bomb, headers=packed),
        "/twice": Said(gzip.compress(bomb), headers={**packed, "Content-Encoding": "gzip, gzip"}),
    }
    async with (
        serving(pages) as server,
        connector(server, urls=("/", "/bomb", "/twice"), max_document_bytes=1 << 20) as found,
    ):
        items = await listing(found)
        assert await told(server, items) == {"/": "", "/bomb": "TooLarge", "/twice": "EncodingUnknown"}
        assert (await found.fetch(items[0])).data == b"text"  # type: ignore[arg-type]  # it is Listed


async def test_answers_that_end_early_or_never_are_given_up() -> None:
    async def begin(request: web.Request, length: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html", "Content-Length": str(length)})
        await response.prepare(request)
        await response.write(b"x" * 10)
        return response

    async def short(request: web.Request) -> web.StreamResponse:
        response = await begin(request, 100)
        assert request.transport is not None
        request.transport.close()
        return response

    async def endless(request: web.Request) -> web.StreamResponse:
        response = await begin(request, 1 << 40)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * 1000)
        return response

    async def silent(request: web.Request) -> web.StreamResponse:
        return await begin(request, 100)

    pages: dict[str, Any] = {"/": page(), "/short": short, "/endless": endless, "/silent": silent}
    async with serving(pages) as server, connector(server, urls=("/", "/short", "/endless")) as found:
        items = await told(server, await listing(found))
        assert items == {"/": "", "/short": "ServerFailing", "/endless": "TooLarge"}
        impatient = dataclasses.replace(found._opened(), seconds=0.05)
        with pytest.raises(TryAgain, match="does not end its answer"):
            await impatient.get(server.url("/silent"), limit=1000)


async def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with serving({"/": html("text")}) as server:
        async with connector(server) as found:
            await listing(found)
            assert len(left(tmp_path)) == 2
        assert left(tmp_path) == []


def left(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))
