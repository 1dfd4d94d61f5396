"""Whole runs over a web server and a wiki: what is indexed, what a second pass costs, and what outages leave alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lectern_contract.reports import RunMode, RunReport
from lectern_contract.settings import PartitionRuleSettings
from lectern_contract.source_settings import HttpSource, WikipediaSource
from lectern_runtime.ingest.connector import Means
from lectern_runtime.ingest.connectors.http import Http
from lectern_runtime.ingest.connectors.wikipedia import Wikipedia
from lectern_runtime.ingest.retries import Retries
from lectern_runtime.ingest.web.api_source import Asking
from lectern_runtime_tests.ingest import wiki_server
from lectern_runtime_tests.ingest.web_server import ADDRESS, Said, WebServer, html, moved, serving
from lectern_runtime_tests.ingest.wiki_server import Wiki
from lectern_runtime_tests.pipeline import Pipeline, connector_settings, pipeline


async def no_wait(_seconds: float = 0.0) -> None:
    """Neither throttled nor patient."""


MEANS = Means(lambda: 0.0, no_wait)
PATIENCE = Asking(retries=Retries(attempts=2, sleep=no_wait))


def page(text: str, *links: str, **headers: str) -> Said:
    return html(f"<p>{text}</p>" + "".join(f'<a href="{link}">x</a>' for link in links), **headers)


async def sync(line: Pipeline, server: WebServer, *, mode: RunMode = RunMode.SYNC, **changes: Any) -> RunReport:
    """One run over the server's pages from its root, two links deep."""
    source = HttpSource(
        urls=(server.url("/"),),
        sitemaps=(),
        allowed_hosts=(ADDRESS,),
        private_networks=(f"{ADDRESS}/32",),
        max_depth=2,
        max_documents=50,
        ca_file=None,
    )
    settings = connector_settings(Path("/unused"), source=source, **changes)
    connector = Http(settings, MEANS, PATIENCE)
    try:
        return await line.run(settings, source=connector, mode=mode)
    finally:
        await connector.close()


async def indexed(line: Pipeline, server: WebServer) -> dict[str, str]:
    """The text of each page in the index, by its path on the server."""
    await line.index()
    content = await line.content()
    return {place.replace(server.url(""), "").split(":", 1)[1]: "".join(texts) for place, texts in content.items()}


def counts(report: RunReport) -> tuple[str, int, int, int, int]:
    return report.result, report.published, report.unchanged, report.deleted, report.failed


SITE = {
    "/": page("start", "/a", "/b"),
    "/a": page("text a", ETag='"a"'),
    "/b": page("text b", "/c"),
    "/c": page("text c"),
}


async def test_a_second_pass_publishes_nothing_and_changes_are_followed(tmp_path: Path) -> None:
    async with pipeline(tmp_path) as line, serving(SITE) as server:
        assert counts(await sync(line, server)) == ("Succeeded", 4, 0, 0, 0)
        assert "text c" in (await indexed(line, server))["/c"]
        server.asked.clear()
        assert counts(await sync(line, server)) == ("Succeeded", 0, 4, 0, 0)
        assert sorted(server.paths) == ["/", "/a", "/b", "/c", "/robots.txt"]  # no page is asked for twice
        server.pages["/a"] = page("text anew", ETag='"a2"')
        server.pages["/c"] = Said(status=410)
        assert counts(await sync(line, server)) == ("Succeeded", 1, 2, 1, 0)
        found = await indexed(line, server)
        assert found.keys() == {"/", "/a", "/b"}
        assert "text anew" in found["/a"]
        assert counts(await sync(line, server, mode=RunMode.FULL)) == ("Succeeded", 3, 0, 0, 0)


@pytest.mark.parametrize(
    "outage",
    [
        {"/": Said(status=500)},
        {"/b": Said(status=503)},
        {"/b": Said(status=403)},
        {"/b": Said(status=429)},
        {"/b": moved("/login"), "/login": page("log in")},
        {"/b": moved("http://elsewhere.test/login")},
        {"/b": html("x" * (1 << 21))},
        {"/robots.txt": Said(status=500)},
        {"/robots.txt": Said("User-agent: *\nDisallow: /")},
        {"/robots.txt": Said("User-agent: *\nDisallow: /b")},
    ],
)
async def test_no_outage_deletes_anything(tmp_path: Path, outage: dict[str, Said]) -> None:
    async with pipeline(tmp_path) as line, serving(SITE) as server:
        await sync(line, server)
        before = await indexed(line, server)
        assert before.keys() == SITE.keys()
        server.pages.update(outage)
        report = await sync(line, server)
        assert (report.deleted, report.result == "Failed" or report.failed > 0) == (0, True)
        after = await indexed(line, server)
        assert {path: after[path] for path in before} == before
        server.pages.clear()
        server.pages.update(SITE)
        assert (await sync(line, server)).result == "Succeeded"
        assert await indexed(line, server) == before


async def test_a_server_that_stops_in_the_middle_of_a_run_deletes_nothing(tmp_path: Path) -> None:
    async with pipeline(tmp_path) as line, serving(SITE) as server:
        await sync(line, server)
        before = await indexed(line, server)

        async def cut(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        for path in ("/a", "/b", "/c"):
            server.pages[path] = cut
        report = await sync(line, server)
        assert (report.result, report.deleted) == ("Succeeded", 0)
        assert await indexed(line, server) == before


async def test_rules_by_path_hold_for_every_spelling_of_it(tmp_path: Path) -> None:
    pages = {
        "/": page("start", "/hr/pay", "/x/../hr/%62oard", "/open", "/links"),
        "/hr/pay": page("pay"),
        "//hr//bonus": page("bonus"),
        "/hr/board": page("board"),
        "/open": page("open"),
        "/links": Said(status=404),
    }
    async with pipeline(tmp_path) as line, serving(pages) as server:
        server.pages["/links"] = page("links", server.url("//hr//bonus"))
        rule = PartitionRuleSettings(path_prefix=f"{ADDRESS}:{server.port}/hr", tenant="acme", access_level="internal")
        await sync(line, server, partition_rules=(rule,))
        await line.index()
        found = {place.replace(server.url(""), "") for place in await line.content()}
        assert {place for place in found if place.startswith("internal:")} == {
            "internal:/hr/pay",
            "internal://hr//bonus",
            "internal:/hr/board",
        }
        assert {"public:/", "public:/open", "public:/links"} == found - {each for each in found if "hr" in each}


async def test_the_servers_word_on_a_type_counts_more_than_the_name(tmp_path: Path) -> None:
    pages = {"/": page("start", "/notes.md", "/Node.js"), "/notes.md": page("notes"), "/Node.js": page("node")}
    async with pipeline(tmp_path) as line, serving(pages) as server:
        assert counts(await sync(line, server)) == ("Succeeded", 3, 0, 0, 0)
        assert (await indexed(line, server))["/notes.md"] == "notes"
        assert counts(await sync(line, server)) == ("Succeeded", 0, 3, 0, 0)


async def test_articles_are_indexed_by_revision(tmp_path: Path) -> None:
    wiki = Wiki()
    for title in ("Max Planck", "Lise Meitner"):
        wiki.write(title, f'<p>{title} lived.<sup class="reference">[1]</sup></p>', "Physics")
    async with pipeline(tmp_path) as line, wiki_server.serving(wiki):
        source = WikipediaSource(api_url=wiki.api_url, titles=(), categories=("Physics",), max_documents=9)
        settings = connector_settings(Path("/unused"), source=source)

        async def run() -> RunReport:
            connector = Wikipedia(settings, MEANS, PATIENCE)
            try:
                return await line.run(settings, source=connector)
            finally:
                await connector.close()

        assert counts(await run()) == ("Succeeded", 2, 0, 0, 0)
        wiki.requests.clear()
        assert counts(await run()) == ("Succeeded", 0, 2, 0, 0)
        assert [each["action"] for each in wiki.requests] == ["query"] * 3
        wiki.write("Max Planck", "<p>Max Planck lived in Berlin.</p>", "Physics")
        del wiki.articles["Lise Meitner"]
        assert counts(await run()) == ("Succeeded", 1, 0, 1, 0)
        await line.index()
        ((place, texts),) = (await line.content()).items()
        assert place == "public:https://wiki.test/wiki/Max_Planck"
        assert "lived in Berlin" in "".join(texts)
