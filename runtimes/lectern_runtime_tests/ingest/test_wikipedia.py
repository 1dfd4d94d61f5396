"""The wikipedia connector against a double of MediaWiki's API (`wiki_server.py`), which was written for these tests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lectern_contract.errors import DocumentError
from lectern_contract.source_settings import WikipediaSource
from lectern_runtime.embed import parse
from lectern_runtime.ingest.connector import Item, Listed, Means, SourceEmpty, SourceUnavailable, Unlisted
from lectern_runtime.ingest.connectors.wikipedia import Wikipedia
from lectern_runtime.ingest.retries import Retries
from lectern_runtime.ingest.web import article
from lectern_runtime.ingest.web.api_source import Asking
from lectern_runtime_tests.ingest.web_server import Said
from lectern_runtime_tests.ingest.web_server import serving as web_serving
from lectern_runtime_tests.ingest.wiki_server import Wiki, serving
from lectern_runtime_tests.pipeline import connector_settings


class Nothing:
    """The first run of a source."""

    cursor = ""

    async def etag(self, uri: str) -> str:
        return ""


@asynccontextmanager
async def connector(api_url: str, *, slept: list[float] | None = None, **changes: Any) -> AsyncIterator[Wikipedia]:
    source: dict[str, Any] = {"api_url": api_url, "titles": (), "categories": (), "max_documents": 100, **changes}
    waits: list[float] = [] if slept is None else slept

    async def throttle() -> None:
        """Never in the way."""

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    settings = connector_settings(Path("/unused"), source=WikipediaSource(**source), max_document_bytes=100_000)
    found = Wikipedia(settings, Means(lambda: 0.0, throttle), Asking(retries=Retries(attempts=3, sleep=sleep)))
    try:
        yield found
    finally:
        await found.close()


async def listing(found: Wikipedia) -> list[Item]:
    return [item async for item in (await found.list(Nothing())).items]


def told(items: Sequence[Item]) -> dict[str, str]:
    """Title, or name of a fault, of each item with the reason of faults."""
    return {
        item.path if isinstance(item, Listed) else item.uri: item.reason if isinstance(item, Unlisted) else ""
        for item in items
    }


async def crawl(wiki: Wiki, **changes: Any) -> dict[str, str]:
    async with serving(wiki), connector(wiki.api_url, **changes) as found:
        return told(await listing(found))


def wiki_of(*titles: str, category: str = "Physics") -> Wiki:
    wiki = Wiki()
    for title in titles:
        wiki.write(title, f"<p>About {title}.</p>", category)
    return wiki


async def test_titles_are_listed_by_revision_and_url_and_read_as_html_under_their_title() -> None:
    wiki = wiki_of("Max Planck", "Node.js")
    async with serving(wiki), connector(wiki.api_url, titles=("Max Planck", "Node.js")) as found:
        first, second = await listing(found)
        assert first == Listed(
            "https://wiki.test/wiki/Max_Planck", "Max Planck", "1001.1", None, media_type="text/html"
        )
        assert isinstance(second, Listed)
        fetched = await found.fetch(second)
        assert (fetched.media_type, fetched.title, fetched.etag) == ("text/html", "Node.js", "1002.1")
        parsed = parse.parse(fetched.data, "text/html")
        assert (parsed.title, parsed.text.split("\n")[-1]) == ("Node.js", "About Node.js.")
        wiki.write("Node.js", "<p>Changed.</p>")
        changed = await listing(found)
        assert [item.etag for item in changed if isinstance(item, Listed)] == ["1001.1", "1003.1"]


async def test_titles_that_stand_for_others_are_listed_once_under_the_right_one_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wiki = wiki_of("New York City")
    wiki.redirects["NYC"] = "New York City"
    with caplog.at_level(logging.INFO, "lectern.connector"):
        found = await crawl(wiki, titles=("NYC", "new_York City", "New York City"))
    assert found == {"New York City": ""}
    (record,) = caplog.records
    assert "'NYC' is 'New York City'" in record.message


async def test_titles_that_name_no_article_are_told_as_they_were_written() -> None:
    found = await crawl(wiki_of("Good"), titles=("Good", "no such", "a<b", "fr:Bon", "a|b"))
    assert found == {
        "Good": "",
        "spec.wikipedia: a|b": "TitleInvalid",
        "spec.wikipedia: fr:Bon": "OtherWiki",
        "spec.wikipedia: no such": "NotFound",
        "spec.wikipedia: a<b": "TitleInvalid",
    }


async def test_categories_are_read_to_their_end_and_each_article_is_listed_once() -> None:
    wiki = wiki_of(*(f"Article {number}" for number in range(8)))
    wiki.write("Both", "<p>x</p>", "Physics", "Prizes")
    wiki.write("Prize", "<p>x</p>", "Prizes")
    found = await crawl(wiki, titles=("Both",), categories=("Physics", "Kategorie:Prizes"))
    assert list(found) == ["Both", *(f"Article {number}" for number in range(8)), "Prize"]
    assert [each["cmtitle"] for each in wiki.requests if "cmtitle" in each][-1] == "Kategorie:Prizes"


async def test_one_request_asks_for_fifty_titles() -> None:
    titles = tuple(f"T{number}" for number in range(120))
    wiki = wiki_of(*titles)
    found = await crawl(wiki, titles=titles, max_documents=200)
    assert len(found) == 120
    assert [len(each["titles"].split("|")) for each in wiki.requests] == [50, 50, 20]


async def test_long_titles_are_asked_for_in_requests_that_a_server_takes() -> None:
    titles = tuple(f"{number}" + "ü" * 100 for number in range(10))
    assert len(await crawl(wiki_of(*titles), titles=titles)) == 10


@pytest.mark.parametrize(
    "changes",
    [
        {"titles": ("A", "B", "C", "D")},
        {"categories": ("Physics",)},
        {"titles": ("A", "B"), "categories": ("Physics",)},
        {"titles": ("A", "B", "C"), "categories": ("Physics",)},
    ],
)
async def test_beyond_the_bound_everything_is_kept(changes: dict[str, Any]) -> None:
    found = await crawl(wiki_of("A", "B", "C", "D"), max_documents=3, **changes)
    assert found == {"A": "", "B": "", "C": "", "": "TooManyPages"}


async def test_at_the_bound_nothing_is_kept_back() -> None:
    assert await crawl(wiki_of("A", "B", "C"), max_documents=3, categories=("Physics",)) == {"A": "", "B": "", "C": ""}


async def test_a_category_that_is_empty_now_is_told_and_everything_is_kept() -> None:
    found = await crawl(wiki_of("A"), titles=("A",), categories=("Renamed",))
    assert found == {"A": "", "spec.wikipedia: Renamed": "CategoryEmpty", "": "CategoryEmpty"}


async def test_a_wiki_without_any_of_the_articles_is_an_error() -> None:
    with pytest.raises(SourceEmpty, match=r"none of the articles of spec\.wikipedia \(A: NotFound\)"):
        await crawl(Wiki(), titles=("A",))


@pytest.mark.parametrize(
    ("code", "headers", "least"),
    [
        ("maxlag", {"Retry-After": "5", "X-Database-Lag": "7"}, 5.0),
        ("ratelimited", {}, 0.0),
        ("readonly", {}, 0.0),
        ("internal_api_error_DBQueryError", {}, 0.0),
        ("429", {"Retry-After": "3"}, 3.0),
        ("503", {}, 0.0),
    ],
)
async def test_a_wiki_that_cannot_answer_now_is_asked_again_when_it_says(
    code: str, headers: dict[str, str], least: float
) -> None:
    wiki = wiki_of("A")
    wiki.faults = [(code, headers)] * 2
    slept: list[float] = []
    assert await crawl(wiki, titles=("A",), slept=slept) == {"A": ""}
    assert len(slept) == 2
    assert all(least <= seconds <= least + 2 for seconds in slept)
    wiki.faults = [(code, headers)] * 3
    with pytest.raises(SourceUnavailable, match="cannot answer now"):
        await crawl(wiki, titles=("A",))


@pytest.mark.parametrize("code", ["readapidenied", "404", "403", "<script>"])
async def test_a_wiki_that_will_not_answer_is_told_without_its_words(code: str) -> None:
    wiki = wiki_of("A")
    wiki.faults = [(code, {})]
    with pytest.raises(
        SourceUnavailable, match=r"the wiki at http://127\.0\.0\.2:\d+ .*check spec\.wikipedia"
    ) as caught:
        await crawl(wiki, titles=("A",))
    assert "secret" not in str(caught.value)
    assert "<" not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        Said("<html>"),
        Said("[]"),
        Said("null"),
        Said('{"query": {"pages": [{"title": 1}]}}'),
        Said("[" * 200_000),
        Said('{"query": {"pages": {"1": {}}}}'),
        Said(status=301, headers={"Location": "http://elsewhere.test/"}),
        Said(status=302, headers={"Location": "http://169.254.169.254/"}),
    ],
)
async def test_what_is_no_mediawiki_is_told(said: Said) -> None:
    async with web_serving({}) as server, connector(server.url("/w/api.php"), titles=("A",)) as found:
        server.otherwise = said
        with pytest.raises(SourceUnavailable):
            await listing(found)


@pytest.mark.parametrize("api_url", ["http://169.254.169.254/w/api.php", "http://user@wiki.test/", "file:///x"])
async def test_an_api_that_is_no_wiki_of_anybody_is_not_asked(api_url: str) -> None:
    async with connector(api_url, titles=("A",)) as found:
        with pytest.raises(SourceUnavailable, match="cannot be asked"):
            await listing(found)


async def test_faults_of_one_article_are_its_own() -> None:
    wiki = wiki_of("A")
    async with serving(wiki), connector(wiki.api_url, titles=("A",)) as found:
        (first,) = await listing(found)
        assert isinstance(first, Listed)

        async def reason() -> str:
            with pytest.raises(DocumentError) as caught:
                await found.fetch(first)
            return caught.value.reason

        wiki.faults = [("permissiondenied", {})]
        assert await reason() == "Refused"
        wiki.faults = [("503", {})] * 3
        assert await reason() == "ServerFailing"
        wiki.write("A", "x" * 2_000_000)
        assert await reason() == "TooLarge"
        del wiki.articles["A"]
        assert await reason() == "Vanished"


async def test_requests_are_made_one_after_the_other_and_name_us() -> None:
    wiki = wiki_of(*"ABCDEFGH")
    async with serving(wiki), connector(wiki.api_url, categories=("Physics",)) as found:
        items = await listing(found)
        await asyncio.gather(*(found.fetch(item) for item in items if isinstance(item, Listed)))
    assert wiki.most_under_way == 1
    (agent,) = wiki.agents
    assert agent.startswith("Lectern/")


# ------------------------------------------------------------------------------------- article text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<p>a</p>", "<p>a</p>"),
        ('a<sup class="reference" id="x">[1]</sup>b', "ab"),
        ('a<div role="navigation" class="navbox x"><div>n<div>m</div></div></div>b', "ab"),
        ("a<span class='mw-editsection'>[<a>edit</a>]</span>b<table class=\"ambox\"><tr><td>n</table>c", "abc"),
        ('a<div class="reflist"><ol class="references"><li>x</ol></div>', "a"),
        ('a<div class="navbox">never closed<p>b', 'a<div class="navbox">never closed<p>b'),
        ('a<img class="noprint">b', 'a<img class="noprint">b'),
        ('<p class="noprinter">a</p>', '<p class="noprinter">a</p>'),
        ("", ""),
    ],
)
def test_what_is_no_text_of_an_article_is_left_out(content: str, text: str) -> None:
    assert article.text_only(content) == text


@pytest.mark.parametrize("unit", ['<div class="navbox">', "<", "<a ", '<a class="', "<p></p>", '<i class="toc"></i>'])
def test_hostile_articles_take_time_by_their_length_only(unit: str) -> None:
    began = time.perf_counter()
    article.text_only(unit * (500_000 // len(unit)))
    assert time.perf_counter() - began < 5


def test_a_title_cannot_end_its_element() -> None:
    assert "<script>" not in article.document("</title><script>", "")
