"""The pure rules of reading web servers: one form of a URL, robots.txt, sitemaps, what a page says."""

from __future__ import annotations

import gzip
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_runtime.ingest.web import pages, robots, sitemaps, tags, urls
from lectern_runtime.ingest.web.pages import Directives
from lectern_runtime.ingest.web.sitemaps import Sitemap, SitemapDamaged
from lectern_runtime.ingest.web.urls import UrlRefused

# -------------------------------------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("https://example.com:80/a", "https://example.com:80/a"),
        ("http://example.com./a", "http://example.com/a"),
        ("http://example.com/a#part", "http://example.com/a"),
        ("http://example.com/a?", "http://example.com/a"),
        ("http://example.com/a?b=1&a=2#c", "http://example.com/a?b=1&a=2"),
        ("http://example.com/%7euser/%41%2f%e4", "http://example.com/~user/A%2F%E4"),
        ("http://example.com/a/./b/../c/", "http://example.com/a/c/"),
        ("http://example.com/../../a", "http://example.com/a"),
        ("http://example.com/a/%2e%2e/b", "http://example.com/b"),
        ("http://example.com/a/..", "http://example.com/"),
        ("http://example.com//a//b", "http://example.com//a//b"),
        ("http://example.com/ü b?q=ü", "http://example.com/%C3%BC%20b?q=%C3%BC"),
        ("http://example.com/100%", "http://example.com/100%25"),
        (" http://example.com/a\nb ", "http://example.com/ab"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
        ("http://[2001:DB8:0::1]:80/", "http://[2001:db8::1]/"),
        ("http://a_b.example/", "http://a_b.example/"),
    ],
)
def test_a_url_has_one_form_which_is_its_own(url: str, canonical: str) -> None:
    assert urls.canonical(url) == canonical
    assert urls.canonical(canonical) == canonical


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "/a",
        "ftp://example.com/",
        "file:///a",
        "mailto:a@b.example",
        "http:/example.com",
        "http://",
        "http://user@example.com/",
        "http://@example.com/",
        "http://a:b@example.com/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:x/",
        "http://exa mple.com/",
        "http://example..com/",
        "http://-/",
        "http://exam\\ple.com/",
        "http://exam%70le.com/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://example.0x7f/",
        "http://[::1/",
        "http://[fe80::1%25lo]/",
        "http://[1.2.3.4]/",
        "http://" + "a" * 254 + "/",
        "http://example.com/" + "a" * 2048,
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        urls.canonical(url)


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("b", "http://example.com/x/b"),
        ("../b", "http://example.com/b"),
        ("/b", "http://example.com/b"),
        ("?q=1", "http://example.com/x/y?q=1"),
        ("#a", "http://example.com/x/y"),
        ("//other.example/b", "http://other.example/b"),
        ("https://other.example", "https://other.example/"),
        (" \tb\n", "http://example.com/x/b"),
    ],
)
def test_links_are_taken_from_their_page(reference: str, url: str) -> None:
    assert urls.joined("http://example.com/x/y", reference) == url


@pytest.mark.parametrize("reference", ["mailto:a@b", "javascript:void(0)", "tel:1", "http://[", "data:,x"])
def test_links_that_lead_to_no_page_are_refused(reference: str) -> None:
    with pytest.raises(UrlRefused):
        urls.joined("http://example.com/x/y", reference)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://example.com/", "example.com/"),
        ("http://example.com/a/b.html", "example.com/a/b.html"),
        ("https://example.com:8443/a/", "example.com:8443/a/"),
        ("http://example.com//hr///pay", "example.com/hr/pay"),
        ("http://example.com/%C3%BCber%20uns", "example.com/über uns"),
        ("http://example.com/a%2Fb", "example.com/a%2Fb"),
        ("http://example.com/a%0Ab", "example.com/a%0Ab"),
        ("http://example.com/%E4", "example.com/%E4"),
        ("http://example.com/a?q=1", "example.com/a?q=1"),
    ],
)
def test_the_path_of_a_page_names_its_host_and_folders(url: str, path: str) -> None:
    assert urls.document_path(urls.canonical(url)) == path


@given(st.text(max_size=60))
def test_no_text_breaks_the_one_form(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.com/{text}"):
        try:
            found = urls.canonical(url)
        except UrlRefused:
            continue
        assert urls.canonical(found) == found
        assert found.isascii()
        assert urls.host(found)


# ------------------------------------------------------------------------------------------ robots


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/a", True),
        ("User-agent: *\nDisallow: /", "/a", False),
        ("User-agent: *\nDisallow:", "/a", True),
        ("User-agent: *\nDisallow: /\nAllow: /public", "/public/a", True),
        ("User-agent: *\nAllow: /a\nDisallow: /a", "/a", True),
        ("User-agent: *\nDisallow: /a/\nAllow: /a/b", "/a/bc", True),
        ("User-agent: *\nDisallow: /*.pdf$", "/x/a.pdf", False),
        ("User-agent: *\nDisallow: /*.pdf$", "/x/a.pdf?x", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: Lectern\nDisallow: /private", "/a", True),
        ("User-agent: *\nDisallow:\n\nuser-agent: lectern\ndisallow: /", "/a", False),
        ("User-agent: Lectern\nDisallow: /a\nUser-agent: Lectern\nDisallow: /b", "/a", False),
        ("User-agent: Other\nDisallow: /", "/a", True),
        ("User-agent: Other\nUser-agent: Lectern\nDisallow: /", "/a", False),
        ("\ufeffUser-agent: *\r\nDisallow: /a # comment\r\n", "/a", False),
        ("User-agent: *\nDisallow: /%7Ea", "/~a", False),
        ("<html>not found</html>", "/a", True),
    ],
)
def test_robots_rules(text: str, path: str, allowed: bool) -> None:
    assert robots.read(200, text.encode()).allows(f"http://example.com{path}") is allowed


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_robots_that_are_not_there_allow_everything(status: int) -> None:
    found = robots.read(status, b"User-agent: *\nDisallow: /")
    assert (found.reachable, found.allows("http://example.com/a")) == (True, True)


@pytest.mark.parametrize("status", [304, 429, 500, 503])
def test_robots_that_are_out_of_reach_allow_nothing(status: int) -> None:
    found = robots.read(status, b"User-agent: *\nAllow: /")
    assert (found.reachable, found.allows("http://example.com/a")) == (False, False)


@pytest.mark.parametrize(("asked", "seconds"), [("2", 2.0), ("0.5", 0.5), ("86400", 30.0), ("-1", 0.0), ("x", 0.0)])
def test_a_crawl_delay_is_honoured_within_a_bound(asked: str, seconds: float) -> None:
    assert robots.read(200, f"User-agent: *\nCrawl-delay: {asked}".encode()).delay_seconds == seconds


def test_hostile_robots_take_no_time() -> None:
    began = time.perf_counter()
    many = "User-agent: *\n" + f"Disallow: /{'*a' * 200}b$\n" * 1000
    robots.read(200, many.encode()).allows("http://example.com/" + "a" * 2000)
    robots.read(200, random.Random(1).randbytes(1_000_000))
    assert time.perf_counter() - began < 10


# ---------------------------------------------------------------------------------------- sitemaps

NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (f"<urlset {NAMESPACE}><url><loc> http://a/ </loc><lastmod>2020</lastmod></url></urlset>", Sitemap(["http://a/"])),
        ("<urlset><url><loc>http://a/?x=1&amp;y=2</loc></url><url/></urlset>", Sitemap(["http://a/?x=1&y=2"])),
        ("<urlset><url><loc><![CDATA[http://a/]]></loc></url></urlset>", Sitemap(["http://a/"])),
        (f"<sitemapindex {NAMESPACE}><sitemap><loc>http://a/1</loc></sitemap></sitemapindex>", Sitemap([], ["http://a/1"])),
        (
            '<urlset xmlns:image="i"><url><loc>http://a/</loc><image:image><image:loc>http://a/i.png</image:loc>'
            "</image:image></url></urlset>",
            Sitemap(["http://a/"]),
        ),
        ("<urlset></urlset>", Sitemap()),
        ("\ufeffhttp://a/\r\n\r\nhttps://b/\n", Sitemap(["http://a/", "https://b/"])),
        ("", Sitemap()),
    ],
)  # fmt: skip
def test_sitemaps(data: str, found: Sitemap) -> None:
    assert sitemaps.read(data.encode()) == found
    assert sitemaps.read(gzip.compress(data.encode())) == found


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><urlset><url><loc>&a;</loc></url></urlset>', "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><urlset/>', "document type"),
        (b"<urlset><url><loc>http://a/", "no XML"),
        (b"<html><body>not found</body></html>", "neither urlset nor sitemapindex"),
        (b"<urlset>" + b"<a>" * 20, "nests deeper"),
        (b"<urlset><url><loc>" + b"a" * 9000 + b"</loc></url></urlset>", "more than 8192 characters"),
        (b"<urlset>" + b"<url><loc>http://a/</loc></url>" * 50_001 + b"</urlset>", "more than 50000"),
        (b"http://a/\n" * 50_001, "more than 50000"),
        (b"hello", "neither XML nor a list"),
        (b"\x80\x81", "neither XML nor a list"),
        (b"\x1f\x8bdamaged", "no complete gzip"),
        (gzip.compress(b"<urlset/>")[:-9], "no complete gzip"),
        (gzip.compress(bytes(60 * 1024 * 1024)), "unpacks to more"),
        (b'<?xml version="1.0" encoding="none-such"?><urlset/>', "no XML"),
    ],
)
def test_what_is_no_sitemap_is_told(data: bytes, why: str) -> None:
    with pytest.raises(SitemapDamaged, match=why):
        sitemaps.read(data)


# ------------------------------------------------------------------------------------------- pages

PAGE = "http://example.com/x/y"


def links(markup: str) -> tuple[str, ...]:
    return pages.read(markup.encode(), url=PAGE).links


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ('<a href="/a">', ("http://example.com/a",)),
        ("<A HREF='b'>x</A><a href=c>", ("http://example.com/x/b", "http://example.com/x/c")),
        ('<a href="/a"><a href="/a#b">', ("http://example.com/a",)),
        ('<area href="/a">', ("http://example.com/a",)),
        ('<a rel="nofollow noopener" href="/a"><a rel=noopener href=/b>', ("http://example.com/b",)),
        ('<base href="/z/"><a href="a"><base href="/no/">', ("http://example.com/z/a",)),
        ('<base href="mailto:x"><a href="a">', ("http://example.com/x/a",)),
        ('<a href="?a=1&amp;b=2">', ("http://example.com/x/y?a=1&b=2",)),
        ('<!-- <a href="/no"> --><a href="/a">', ("http://example.com/a",)),
        ("<script>'<a href=/no>'</script><style><a href=/no></style><a href=/a>", ("http://example.com/a",)),
        ("<title><a href=/no></title><textarea><a href=/no></textarea >", ()),
        ('<a title="> <" data-x=\'"\' href = "/a" href="/no">', ("http://example.com/a",)),
        ('<a href="mailto:x"><a href="javascript:x"><a href=""><a>', (PAGE,)),
        ("<abbr href=/no><a\nhref=/a>", ("http://example.com/a",)),
        ('<a href="/never-closed', ()),
        ("<a href='/a", ()),
        ("<!-- never closed <a href=/a>", ()),
        ("<script><a href=/a>", ()),
        (f'<a href="/{"a" * 9000}"><a href=/a>', ("http://example.com/a",)),
    ],
)
def test_links_of_a_page(markup: str, found: tuple[str, ...]) -> None:
    assert links(markup) == found


@pytest.mark.parametrize(
    ("markup", "noindex", "nofollow"),
    [
        ('<meta name="robots" content="noindex">', True, False),
        ('<META NAME=Robots CONTENT="NoIndex, NOFOLLOW">', True, True),
        ('<meta name="robots" content="none">', True, True),
        ('<meta name="lectern" content="nofollow">', False, True),
        ('<meta name="googlebot" content="noindex">', False, False),
        ('<meta name="robots" content="index,follow"><meta name=robots content=noindex>', True, False),
        ('<meta name="description" content="noindex">', False, False),
    ],
)
def test_what_a_page_says_to_robots(markup: str, noindex: bool, nofollow: bool) -> None:
    assert pages.read(markup.encode(), url=PAGE).directives == Directives(noindex, nofollow)


@pytest.mark.parametrize(
    ("values", "noindex", "nofollow"),
    [
        ([], False, False),
        (["noindex"], True, False),
        (["noindex, nofollow"], True, True),
        (["otherbot: noindex"], False, False),
        (["Lectern: noindex"], True, False),
        (["otherbot: noindex", "nofollow"], False, True),
        (["unavailable_after: 1 Jan 2030 00:00:00 GMT"], False, False),
        (["max-snippet: 20, noindex"], True, False),
    ],
)
def test_what_headers_say_to_robots(values: list[str], noindex: bool, nofollow: bool) -> None:
    assert pages.directives_of(values) == Directives(noindex, nofollow)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        ("<a href='/ü'>".encode(), ""),
        ("<a href='/ü'>".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ("<meta charset=latin-1><a href='/ü'>".encode("latin-1"), "text/html"),
        ("<a href='/ü'>".encode("utf-16"), ""),
        ("<a href='/ü'>".encode(), "text/html; charset=none-such"),
    ],
)
def test_links_are_read_in_the_charset_of_their_page(data: bytes, content_type: str) -> None:
    assert pages.read(data, url=PAGE, content_type=content_type).links == ("http://example.com/%C3%BC",)


@pytest.mark.parametrize(
    "unit", ["<div>", "<a href=x>", '<a href="', "<", "<!--", "<a ", "<a x=", "<a////", "<script>", "</script", "&amp"]
)
def test_a_hostile_page_takes_time_by_its_length_only(unit: str) -> None:
    size = 1 << 19
    began = time.perf_counter()
    pages.read(unit.encode() * (size // len(unit)), url=PAGE)
    assert time.perf_counter() - began < 5


def test_links_of_one_page_are_bounded() -> None:
    assert len(links("".join(f"<a href={number}>" for number in range(6000)))) == pages.MAX_LINKS


@given(st.text(alphabet="<>a/!-='\" hrefsciptbm\n", max_size=80))
def test_no_markup_breaks_the_reading_of_tags(text: str) -> None:
    for name, attributes in tags.start_tags(text, {"a": frozenset({"href"})}):
        assert name == "a"
        assert set(attributes) <= {"href"}
