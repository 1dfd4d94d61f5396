"""Nothing that a source names makes the connector reach this network: 0 connections of a real canary on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpcore
import pytest

from lectern_contract.errors import DocumentError
from lectern_contract.source_settings import HttpSource
from lectern_runtime.ingest.connector import Listed, Means, SourceUnavailable, Unlisted
from lectern_runtime.ingest.connectors.http import Http
from lectern_runtime.ingest.retries import Retries
from lectern_runtime.ingest.web import guarded
from lectern_runtime.ingest.web.api_source import Asking
from lectern_runtime.ingest.web.guarded import Guard, PinnedBackend
from lectern_runtime_tests.ingest.guarded_world import (
    FRONT,
    FRONT_ONLY,
    Anyone,
    Names,
    Nothing,
    canary,
    certificate,
    exchange,
    fault,
    no_wait,
)
from lectern_runtime_tests.ingest.web_server import ADDRESS, Said, moved, serving
from lectern_runtime_tests.pipeline import connector_settings

# ------------------------------------------------------------------------------------- what a URL says

REACHES_WHEN_UNGUARDED = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.1:{port}/",
    "http://127.0.0.0x1:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://[::]:{port}/",
    "http://user:word@127.0.0.1:{port}/",  # secret-scan: allow, it must be refused
    "http://front.test@127.0.0.1:{port}/",
    "http://127\u30020\u30020\u30021:{port}/",
]
"""What resolves these hosts without a guard connects to the canary, which the first test shows."""
REACHES_NOBODY = [
    "http://[::1%25lo]:{port}/",
    "http://[fe80::1%25eth0]:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://localhost.:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:7f00:1::80ff:fffe]:{port}/",
    "http://[fd00::1]:{port}/",
    "http://[fec0::1]:{port}/",
    "http://[ff02::1]:{port}/",
    "http://10.0.0.1:{port}/",
    "http://172.16.0.1:{port}/",
    "http://192.168.0.1:{port}/",
    "http://100.64.0.1:{port}/",
    "http://198.18.0.1:{port}/",
    "http://224.0.0.1:{port}/",
    "http://255.255.255.255:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/metadata",
    "http://192.0.0.192/opc/v2/",
    "http://xn--:{port}/",
    "http://\u2460\u2461\u2466.0.0.1:{port}/",
    "http://127.0.0.1%2f@front.test:{port}/",
    "http://front.test\\@127.0.0.1:{port}/",
    "http://127.0.0.1\\.front.test:{port}/",
    "http://127.0.0.1%00.front.test:{port}/",
    "http://[::1]front.test:{port}/",
    "http://:{port}/",
    "http:///127.0.0.1:{port}/",
    "http://127.0.0.1:{port}:80/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_GET",
    "ftp://127.0.0.1:{port}/",
    "unix:///var/run/docker.sock",
    "data:text/html,secret",
]
NAMES: dict[str, Sequence[str]] = {
    "loopback.test": ("127.0.0.1",),
    "loopback6.test": ("::1",),
    "mapped.test": ("::ffff:127.0.0.1",),
    "alias.test": ("127.0.0.53",),  # what is left of an alias (CNAME) to a name of this machine
    "good-and-bad.test": ("93.184.216.34", "127.0.0.1"),
    "bad-and-good.test": ("127.0.0.1", "93.184.216.34"),
    "private.test": ("10.1.2.3",),
    "zone.test": ("fe80::1%eth0",),
    "metadata.test": ("169.254.169.254",),
    "odd.test": ("0x7f.1",),
    "nothing.test": (),
    "localhost.attacker.test": ("127.0.0.1",),
    "xn--bcher-kva.test": ("127.0.0.1",),
}


async def test_the_canary_is_real_without_a_guard_it_is_reached() -> None:
    async with canary() as bird:
        for count, template in enumerate(REACHES_WHEN_UNGUARDED):
            host = urlsplit(template.format(port=bird.port)).hostname
            reader, writer = await asyncio.open_connection(host, bird.port)
            assert (await reader.read()).endswith(b"secret"), template
            writer.close()
            assert bird.connections == count + 1


@pytest.mark.parametrize("template", [*REACHES_WHEN_UNGUARDED, *REACHES_NOBODY])
async def test_a_url_of_this_network_is_refused_even_where_its_host_is_allowed(template: str) -> None:
    async with canary() as bird, exchange() as web:
        assert await fault(web.get(template.format(port=bird.port), limit=100)) in (
            "UrlRefused",
            "AddressRefused",
            "TryAgain",  # a name that does not exist
        )
        assert bird.connections == 0


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_that_leads_into_this_network_is_refused_whatever_else_it_leads_to(name: str) -> None:
    names = Names({name: [found] for name, found in NAMES.items()})
    async with canary() as bird, exchange(resolve=names.resolve) as web:
        expected = "TryAgain" if name == "nothing.test" else "AddressRefused"
        assert await fault(web.get(f"http://{name}:{bird.port}/", limit=100)) == expected
        assert bird.connections == 0


# --------------------------------------------------------------------------------------- redirects

LOCATIONS = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://[::1]:{port}/",
    "http://2130706433:{port}/",
    "http://loopback.test:{port}/",
    "http://metadata.test/",
    "//127.0.0.1:{port}/",
    "///127.0.0.1:{port}/",
    "\\\\127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}/",
    "http://front.test@127.0.0.1:{port}/",
    "http://front.test:1\\@127.0.0.1:{port}/",  # secret-scan: allow, it must be refused
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/",
    "https://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_GET%20/",
    "dict://127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "ldap://127.0.0.1:{port}/",
    "javascript:fetch('http://127.0.0.1:{port}')",
    "HTTP://127.0.0.1:{port}/",
    "\thttp://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/#@front.test",
    "http://127.0.0.1:{port}?@front.test",
]


STAYS = ("///127.0.0.1:{port}/", "\\\\127.0.0.1:{port}/", "http:\\\\127.0.0.1:{port}/")
"""Browsers leave the server for these; here they are paths on it."""


@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize("location", LOCATIONS)
async def test_a_redirect_is_judged_as_the_first_url_was(location: str, status: int) -> None:
    local: list[Sequence[str]] = [["127.0.0.1"]]
    names = Names(
        {FRONT: [[ADDRESS]], "loopback.test": local, "localhost": local, "metadata.test": [["169.254.169.254"]]}
    )
    async with canary() as bird:
        pages = {
            "/one": moved("/two", status),
            "/three": moved(location.format(port=bird.port), status),
        }
        async with serving(pages) as front, exchange(private=FRONT_ONLY, resolve=names.resolve) as web:
            front.pages["/two"] = moved(front.url("/three", FRONT), status)
            asked = web.get(front.url("/one", FRONT), limit=100)
            if location in STAYS:
                assert urlsplit((await asked).url).hostname == FRONT
            else:
                assert await fault(asked) in ("RedirectRefused", "AddressRefused")
            assert front.paths[:3] == ["/one", "/two", "/three"]
        assert bird.connections == 0


async def test_a_chain_of_redirects_ends() -> None:
    async with serving({"/": moved("/")}) as front, exchange(private=FRONT_ONLY) as web:
        assert await fault(web.get(front.url(), limit=100)) == "RedirectRefused"
        assert len(front.asked) == 6


async def test_redirects_leave_neither_the_allowed_hosts_nor_https(tmp_path: Path) -> None:
    names = Names({FRONT: [[ADDRESS]], "other.test": [[ADDRESS]]})
    ca_file, tls = certificate(tmp_path, FRONT)
    async with (
        serving({"/": Said("reached")}) as plain,
        serving({"/away": moved("/"), "/down": moved("/")}, tls=tls) as front,
        exchange(private=FRONT_ONLY, resolve=names.resolve, hosts=frozenset({FRONT}), ca_file=str(ca_file)) as web,
    ):
        front.pages["/away"] = moved(front.url("/", "other.test"))
        front.pages["/down"] = moved(plain.url("/", FRONT))
        assert await fault(web.get(front.url("/away", FRONT), limit=100)) == "HostNotAllowed"
        assert await fault(web.get(front.url("/down", FRONT), limit=100)) == "RedirectRefused"
        assert plain.asked == []


# --------------------------------------------------------------------------------------- rebinding


class Recording(httpcore.AsyncNetworkBackend):
    """Connects to nothing and remembers where it was sent."""

    def __init__(self) -> None:
        self.connected: list[str] = []

    async def connect_tcp(self, host: str, port: int, **_: object) -> httpcore.AsyncNetworkStream:  # type: ignore[override]  # the rest is not read
        self.connected.append(host)
        raise httpcore.ConnectError("nobody is there")

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


async def test_a_name_is_asked_for_once_and_the_judged_address_is_the_one_connected_to() -> None:
    names = Names({"rebinding.test": [["93.184.216.34"], ["127.0.0.1"]]})
    inner = Recording()
    backend = PinnedBackend(Guard(Anyone(), (), names.resolve), inner)
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("rebinding.test", 80)
    assert (names.asked, inner.connected) == (["rebinding.test"], ["93.184.216.34"])
    with pytest.raises(DocumentError):
        await backend.connect_tcp("rebinding.test", 80)
    assert inner.connected == ["93.184.216.34"]


async def test_a_second_answer_of_the_name_server_never_leads_to_the_canary() -> None:
    async def close(_request: object) -> Said:
        return Said("front", headers={"Connection": "close"})

    async with canary() as bird, serving({"/": close}) as front:
        names = Names({"rebinding.test": [[ADDRESS], ["127.0.0.1"]]})
        async with exchange(private=FRONT_ONLY, resolve=names.resolve) as web:
            assert (await web.get(front.url("/", "rebinding.test"), limit=100)).body == b"front"
            assert await fault(web.get(front.url("/", "rebinding.test"), limit=100)) == "AddressRefused"
        assert names.asked == ["rebinding.test"] * 2
        assert bird.connections == 0


async def test_sockets_of_this_machine_are_never_opened() -> None:
    with pytest.raises(httpcore.ConnectError):
        await PinnedBackend(Guard(Anyone(), (), guarded.resolve)).connect_unix_socket("/var/run/docker.sock")


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with canary() as bird, serving({"/": Said("front")}) as front:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{bird.port}")
        async with exchange(private=FRONT_ONLY) as web:
            assert (await web.get(front.url(), limit=100)).body == b"front"
        assert bird.connections == 0


async def test_no_part_of_a_crawl_reaches_the_canary() -> None:
    names = Names({FRONT: [[ADDRESS]], "loopback.test": [["127.0.0.1"]], "localhost": [["127.0.0.1"]]})
    allowed = (FRONT, "127.0.0.1", "::1", "localhost", "loopback.test", "169.254.169.254")
    async with canary() as bird, serving({}) as front:
        bad = [f"http://{host}:{bird.port}/" for host in ("127.0.0.1", "[::1]", "localhost", "loopback.test")]
        links = "".join(f'<a href="{url}">x</a>' for url in [*bad, "/redirect", "http://169.254.169.254/"])
        front.pages = {
            "/": Said(links, headers={"Content-Type": "text/html"}),
            "/redirect": moved(bad[0]),
            "/sitemap": Said("\n".join([*bad, front.url("/redirect", FRONT)])),
            "/index": Said(f"<sitemapindex><sitemap><loc>{bad[0]}</loc></sitemap></sitemapindex>"),
            "/robots.txt": moved("/robots2.txt"),
            "/robots2.txt": Said(status=404),
        }
        source = HttpSource(
            urls=(front.url("/", FRONT), *bad),
            sitemaps=(front.url("/sitemap", FRONT), front.url("/index", FRONT), bad[1]),
            allowed_hosts=allowed,
            private_networks=FRONT_ONLY,
            max_depth=3,
            max_documents=100,
            ca_file=None,
        )
        settings = connector_settings(Path("/unused"), source=source)
        means, retries = Means(lambda: 0.0, no_wait), Retries(attempts=2, sleep=no_wait)
        found = Http(settings, means, Asking(names.resolve, retries))
        items = [item async for item in (await found.list(Nothing())).items]
        assert [item.uri for item in items if isinstance(item, Listed)] == [front.url("/", FRONT)]
        refused = {item.uri for item in items if isinstance(item, Unlisted) and "is not asked" in item.detail}
        assert {*bad, "http://169.254.169.254/", front.url("/redirect", FRONT)} <= refused
        with pytest.raises(DocumentError):
            await found.fetch(Listed(bad[0], "", "", None))
        front.pages["/robots.txt"] = moved(f"{bad[0]}robots.txt")
        with pytest.raises(SourceUnavailable, match="is at an address that is not asked"):
            [item async for item in (await found.list(Nothing())).items]
        await found.close()
        assert bird.connections == 0


def test_there_are_at_least_sixty_vectors() -> None:
    vectors = {*REACHES_WHEN_UNGUARDED, *REACHES_NOBODY, *NAMES, *(f"-> {location}" for location in LOCATIONS)}
    assert len(vectors) >= 60
