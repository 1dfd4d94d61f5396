"""The http connector against a real web server on loopback: what it lists, and what it never takes for deleted."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from lectern_runtime.ingest.connector import Listed, SourceEmpty, SourceUnavailable, Unlisted
from lectern_runtime.ingest.web import origins, seeds
from lectern_runtime_tests.ingest.http_world import connector, crawl, etags, listing, page, told
from lectern_runtime_tests.ingest.web_server import ADDRESS, Said, html, moved, serving

# ----------------------------------------------------------------------------------- what is listed


async def test_named_pages_are_listed_with_type_and_size_and_read_without_a_second_request() -> None:
    pages = {"/a": html("<p>eins</p>"), "/b.txt": Said("zwei", headers={"Content-Type": "text/plain"})}
    async with serving(pages) as server, connector(server, urls=("/a", "/b.txt")) as found:
        first, second = await listing(found)
        assert isinstance(first, Listed)
        assert isinstance(second, Listed)
        assert first == Listed(server.url("/a"), f"{ADDRESS}:{server.port}/a", first.etag, 11, media_type="text/html")
        assert second.media_type == "text/plain"
        fetched = await found.fetch(first)
        assert (fetched.data, fetched.media_type, fetched.etag) == (b"<p>eins</p>", "text/html", first.etag)
        assert (await found.fetch(second)).data == b"zwei"
        assert server.paths == ["/robots.txt", "/a", "/b.txt"]


async def test_links_are_followed_as_deep_as_allowed_and_each_page_is_asked_once() -> None:
    pages = {
        "/": page("/one#x", "one", "/two", "http://elsewhere.test/", "mailto:a@b"),
        "/one": page("/", "/deep"),
        "/two": page("/deep", "/one?"),
        "/deep": page("/deeper"),
        "/deeper": page(),
    }
    async with serving(pages) as server, connector(server, max_depth=2) as found:
        assert list(await told(server, await listing(found))) == ["/", "/one", "/two", "/deep"]
        assert sorted(server.paths) == ["/", "/deep", "/one", "/robots.txt", "/two"]


async def test_globs_choose_pages_but_others_are_still_searched_for_links() -> None:
    pages = {"/": page("/docs/a", "/blog/b"), "/docs/a": page("/docs/c", "/x"), "/docs/c": page(), "/blog/b": page()}
    assert await crawl(pages, max_depth=2, include=("*/docs/**",)) == {"/docs/a": "", "/docs/c": ""}
    assert await crawl(pages, max_depth=2, exclude=("*/blog/**",)) == {"/": "", "/docs/a": "", "/docs/c": ""}


async def test_sitemaps_are_read_with_their_parts_packed_or_not() -> None:
    pages = {
        "/sitemap.xml": Said(
            "<sitemapindex><sitemap><loc>{0}/1.xml.gz</loc></sitemap><sitemap><loc>{0}/2.txt</loc></sitemap>"
            "</sitemapindex>"
        ),
        "/a": page(),
        "/b": page(),
    }
    async with serving(pages) as server:
        start = server.url("")
        index = pages["/sitemap.xml"]
        assert isinstance(index.body, str)
        server.pages["/sitemap.xml"] = Said(index.body.format(start))
        server.pages["/1.xml.gz"] = Said(gzip.compress(f"<urlset><url><loc>{start}/a</loc></url></urlset>".encode()))
        server.pages["/2.txt"] = Said(f"{start}/b\nhttp://elsewhere.test/\nhttp://127.1/\n")
        async with connector(server, urls=(), sitemaps=("/sitemap.xml",)) as found:
            items = await listing(found)
        assert etags(items).keys() == {server.url("/a"), server.url("/b")}
        assert [(item.uri, item.reason) for item in items if isinstance(item, Unlisted)] == [
            (server.url("/2.txt"), "HostNotAllowed"),
            (server.url("/2.txt"), "UrlRefused"),
        ]


async def test_a_redirect_is_followed_and_the_page_has_the_name_where_it_lies() -> None:
    pages = {"/old": moved("/new", 301), "/older": moved("/new", 308), "/new": html("text")}
    assert await crawl(pages, urls=("/old", "/older")) == {"/new": ""}
    assert await crawl(pages, urls=("/old", "/new")) == {"/new": ""}


async def test_pages_that_are_not_to_be_indexed_are_not_and_their_links_only_where_asked() -> None:
    pages = {
        "/": page("/header", "/meta", "/both", "/a"),
        "/header": html('<a href="/from-header">', **{"X-Robots-Tag": "noindex"}),
        "/meta": html('<meta name="robots" content="noindex"><a href="/from-meta">'),
        "/both": html('<meta name="robots" content="none"><a href="/never">'),
        "/a": html('<a rel="nofollow" href="/never">'),
        "/from-header": page(),
        "/from-meta": page(),
        "/never": page(),
    }
    assert await crawl(pages, max_depth=2) == {"/": "", "/a": "", "/from-header": "", "/from-meta": ""}


async def test_what_links_lead_to_of_other_types_is_no_document_and_its_body_is_not_read() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "video/mp4", "Content-Length": str(1 << 40)})
        await response.prepare(request)
        await response.write(b"x" * 1000)
        return response

    picture = Said(b"x", headers={"Content-Type": "image/png"})
    pages = {"/": page("/film", "/picture.png"), "/film": endless, "/picture.png": picture}
    assert await crawl(pages, max_depth=1) == {"/": ""}
    named = await crawl({"/p": picture, "/": page()}, urls=("/", "/p"))
    assert list(named.values()) == ["", "MediaTypeNotAccepted"]


# --------------------------------------------------------------------------------------- unchanged


async def test_an_unchanged_page_is_not_sent_again_and_keeps_its_etag() -> None:
    pages = {"/": html("text", ETag='"1"'), "/plain": html("other")}
    async with serving(pages) as server, connector(server, urls=("/", "/plain")) as found:
        first = await listing(found)
        again = await listing(found, etags(first))
        assert [(item.uri, item.etag) for item in again if isinstance(item, Listed)] == list(etags(first).items())
        assert isinstance(again[0], Listed)
        assert (again[0].size, again[0].media_type) == (None, "text/html")
        assert server.asked[-2].headers["If-None-Match"] == '"1"'
        assert "If-None-Match" not in server.asked[-1].headers
        server.pages["/"] = html("changed", ETag='"2"')
        changed = await listing(found, etags(first))
        assert etags(changed)[server.url("/")] != etags(first)[server.url("/")]
        assert (await found.fetch(changed[0])).data == b"changed"  # type: ignore[arg-type]  # it is Listed


async def test_a_page_whose_links_are_followed_is_asked_for_whole_and_keeps_its_etag_all_the_same() -> None:
    pages = {"/": html('<a href="/a">', ETag='"1"'), "/a": html("text", ETag='"2"')}
    async with serving(pages) as server, connector(server, max_depth=1) as found:
        first = etags(await listing(found))
        assert len(first) == 2
        assert etags(await listing(found, first)) == first
        asked = {each.path: each.headers.get("If-None-Match") for each in server.asked}
        assert asked == {"/robots.txt": None, "/": None, "/a": '"2"'}


async def test_an_unchanged_page_without_validators_has_the_same_etag() -> None:
    async with serving({"/": html("text")}) as server, connector(server) as found:
        assert etags(await listing(found)) == etags(await listing(found))


async def test_unchanged_pages_that_ask_not_to_be_indexed_now_are_gone() -> None:
    async def unchanged(_request: web.Request) -> Said:
        return Said(status=304, headers={"X-Robots-Tag": "noindex"})

    pages = {"/": html("text", ETag='"1"'), "/b": html("b")}
    async with serving(pages) as server, connector(server, urls=("/", "/b")) as found:
        first = etags(await listing(found))
        server.pages["/"] = unchanged
        assert list(etags(await listing(found, first))) == [server.url("/b")]


# --------------------------------------------------------------- what is gone, and what must not look so


@pytest.mark.parametrize("status", [404, 410])
async def test_a_page_that_is_gone_is_not_listed_and_a_named_one_is_told(status: int) -> None:
    pages = {"/": page("/gone"), "/gone": Said(status=status), "/named": Said(status=status)}
    found = await crawl(pages, urls=("/", "/named"), max_depth=1)
    assert found == {"/": "", "spec.http: /named": "NotFound"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Said(status=500), "ServerFailing"),
        (Said(status=503), "ServerFailing"),
        (Said(status=429), "ServerFailing"),
        (Said(status=401), "Refused"),
        (Said(status=403), "Refused"),
        (Said(status=418), "Refused"),
        (Said(status=304), "Refused"),
        (moved("http://elsewhere.test/login"), "HostNotAllowed"),
        (moved("ftp://127.0.0.2/"), "RedirectRefused"),
        (moved("/b"), "RedirectRefused"),
        (html("x" * 2000), "TooLarge"),
        (Said("x", headers={"Content-Type": "text/plain", "Content-Encoding": "br"}), "EncodingUnknown"),
        (Said("x", headers={"Content-Type": "text/plain", "Content-Encoding": "gzip"}), "ServerFailing"),
    ],
)
async def test_a_page_that_cannot_be_read_is_told_and_the_rest_goes_on(said: Said, reason: str) -> None:
    pages = {"/": html("text"), "/b": said, "/c": html("text")}
    assert await crawl(pages, urls=("/", "/b", "/c"), max_document_bytes=1000) == {"/": "", "/b": reason, "/c": ""}


async def test_where_an_unread_page_could_have_links_everything_is_kept() -> None:
    pages = {"/": page("/a", "/b"), "/a": Said(status=500), "/b": page("/c"), "/c": page()}
    assert await crawl(pages, max_depth=2) == {"/": "", "/a": "ServerFailing", "/b": "", "/c": "", "": "LinksUnknown"}
    assert await crawl(pages, max_depth=1) == {"/": "", "/a": "ServerFailing", "/b": ""}


async def test_beyond_the_bound_nothing_is_asked_and_everything_is_kept() -> None:
    pages = {"/": page("/1", "/2", "/3"), **{f"/{number}": page() for number in range(1, 4)}}
    async with serving(pages) as server, connector(server, max_depth=1, max_documents=3) as found:
        items = await listing(found)
        assert await told(server, items) == {"/": "", "/1": "", "/2": "", "": "TooManyPages"}
        last = items[-1]
        assert isinstance(last, Unlisted)
        assert "more than 3 pages; raise spec.http.maxDocuments" in last.detail
        assert "/3" not in server.paths


@pytest.mark.parametrize(
    "sitemap", [Said(status=404), Said(status=500), Said("<html>"), moved("http://elsewhere.test/"), Said("no sitemap")]
)
async def test_where_a_sitemap_cannot_be_read_everything_is_kept(sitemap: Said) -> None:
    found = await crawl({"/": page(), "/s": sitemap}, sitemaps=("/s",))
    assert found == {"/": "", "/s": "SitemapUnreadable", "": "SitemapUnreadable"}


async def test_sitemaps_that_fail_one_after_the_other_are_left_to_the_next_run() -> None:
    names = tuple(f"/{number}" for number in range(20))
    async with serving({"/": page()}) as server, connector(server, sitemaps=names) as found:
        await listing(found)
        assert [path for path in server.paths if path in names] == list(names[: seeds.MAX_FAILURES])


async def test_a_page_that_leads_elsewhere_for_now_stays_what_it_was() -> None:
    pages = {"/": html("text"), "/a": html("text"), "/login": html("log in")}
    async with serving(pages) as server, connector(server, urls=("/", "/a")) as found:
        first = etags(await listing(found))
        server.pages["/a"] = moved("/login", 302)
        assert await told(server, await listing(found, first)) == {"/": "", "/a": "RedirectedForNow"}
        server.pages["/a"] = moved("/login", 301)
        assert await told(server, await listing(found, first)) == {"/": "", "/login": ""}


async def test_a_server_that_fails_page_after_page_is_left_alone_and_told_once() -> None:
    names = [f"/{number}" for number in range(60)]
    pages: dict[str, Any] = {"/": html("text"), **dict.fromkeys(names, Said(status=500))}
    async with serving(pages) as server, connector(server, urls=("/", *names)) as found:
        items = await told(server, await listing(found))
        assert items["/"] == ""
        assert items[""] == "ServerFailing"  # the uri of the server, which stands for all of its pages
        assert len(items) <= 2 + origins.MAX_FAILURES + 3
        assert len(server.asked) <= 2 + 2 * (origins.MAX_FAILURES + 3)


@pytest.mark.parametrize(
    ("pages", "error", "said"),
    [
        ({"/": Said(status=500)}, SourceUnavailable, "no page could be read; .*HTTP 500"),
        ({"/": Said(status=403)}, SourceUnavailable, "no page could be read; .*HTTP 403"),
        ({"/": Said(status=404)}, SourceUnavailable, "NotFound, the server answers HTTP 404"),
        ({"/robots.txt": Said(status=500), "/": page()}, SourceUnavailable, "robots.txt"),
        ({"/robots.txt": Said("User-agent: *\nDisallow: /"), "/": page()}, SourceUnavailable, "denies it to Lectern"),
        ({"/": html("", **{"X-Robots-Tag": "noindex"})}, SourceEmpty, "not to be indexed"),
    ],
)
async def test_a_source_without_any_page_is_an_error_and_never_an_empty_one(
    pages: Mapping[str, Said], error: type[SourceUnavailable], said: str
) -> None:
    with pytest.raises(error, match=said):
        await crawl(pages)


async def test_a_server_that_is_not_there_is_told_with_its_name() -> None:
    async with serving({}) as server:
        port = server.port
    async with connector(server) as found:
        with pytest.raises(SourceUnavailable, match=rf"http://127\.0\.0\.2:{port} cannot be reached"):
            await listing(found)
