"""A double of MediaWiki's action API for tests, in the shapes that `formatversion=2` documents. It is no MediaWiki.

It knows titles, redirects, categories and revisions, continues long lists, limits titles, and lags when told to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from lectern_runtime_tests.ingest.web_server import ADDRESS, listening

MEMBERS_AT_ONCE = 3
"""How many members of a category one answer holds here; the real API says up to 500."""


@dataclass(slots=True)
class Article:
    """One page."""

    page_id: int
    title: str
    revision: int
    text: str
    categories: tuple[str, ...] = ()


@dataclass(slots=True)
class Wiki:
    """What the double knows. `faults` are errors that are answered before anything else, each once.

    `capital` says that titles begin with a capital letter, as in Wikipedia.
    """

    articles: dict[str, Article] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    under_way: int = 0
    most_under_way: int = 0
    port: int = 0
    capital: bool = True
    pages_written: int = 0
    revisions: int = 0

    @property
    def api_url(self) -> str:
        return f"http://{ADDRESS}:{self.port}/w/api.php"

    def write(self, title: str, text: str, *categories: str) -> Article:
        """Write a page anew or for the first time."""
        old = self.articles.get(title)
        self.revisions += 1
        self.pages_written += old is None
        page_id = old.page_id if old else self.pages_written
        found = Article(page_id, title, 1000 + self.revisions, text, categories)
        self.articles[title] = found
        return found

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one question as api.php does."""
        asked = dict(request.query)
        self.requests.append(asked)
        self.agents.add(request.headers["User-Agent"])
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            assert (asked["format"], asked["formatversion"], asked["maxlag"]) == ("json", "2", "5")
            if self.faults:
                code, headers = self.faults.pop(0)
                if code.isdigit():
                    return web.Response(status=int(code), headers=headers)
                return web.json_response({"error": {"code": code, "info": "secret words"}}, headers=headers)
            return web.json_response(self._parse(asked) if asked["action"] == "parse" else self._query(asked))
        finally:
            self.under_way -= 1

    def _parse(self, asked: dict[str, str]) -> dict[str, Any]:
        found = self.articles.get(asked["page"])
        if found is None:
            return {"error": {"code": "missingtitle", "info": "The page you specified doesn't exist."}}
        shown = {"title": found.title, "pageid": found.page_id, "revid": found.revision, "text": found.text}
        return {"parse": shown}

    def _query(self, asked: dict[str, str]) -> dict[str, Any]:
        if asked.get("meta") == "siteinfo":
            namespaces = {"0": {"id": 0, "name": ""}, "14": {"id": 14, "name": "Kategorie", "canonical": "Category"}}
            return {"batchcomplete": True, "query": {"namespaces": namespaces, "namespacealiases": []}}
        if asked.get("list") == "categorymembers":
            return self._members(asked)
        if "pageids" in asked:
            ids = [int(each) for each in asked["pageids"].split("|")]
            assert len(ids) <= 50
            by_id = {each.page_id: each for each in self.articles.values()}
            pages = [
                self._page(by_id[each].title) if each in by_id else {"pageid": each, "missing": True} for each in ids
            ]
            return {"batchcomplete": True, "query": {"pages": pages}}
        return self._titles(asked["titles"].split("|"))

    def _members(self, asked: dict[str, str]) -> dict[str, Any]:
        name = asked["cmtitle"].partition(":")[2]
        assert (asked["cmtype"], asked["cmnamespace"]) == ("page", "0")
        found = [each for each in self.articles.values() if name in each.categories]
        start = int(asked.get("cmcontinue", "page|0").partition("|")[2])
        part = found[start : start + MEMBERS_AT_ONCE]
        members = [{"pageid": each.page_id, "ns": 0, "title": each.title} for each in part]
        reply: dict[str, Any] = {"batchcomplete": True, "query": {"categorymembers": members}}
        if start + MEMBERS_AT_ONCE < len(found):
            reply["continue"] = {"cmcontinue": f"page|{start + MEMBERS_AT_ONCE}", "continue": "-||"}
        return reply

    def _titles(self, titles: list[str]) -> dict[str, Any]:
        assert len(titles) <= 50
        query: dict[str, list[Any]] = {"normalized": [], "redirects": [], "interwiki": [], "pages": []}
        for title in titles:
            if title.startswith("fr:"):
                query["interwiki"].append({"title": title, "iw": "fr"})
                continue
            good = ((title[:1].upper() if self.capital else title[:1]) + title[1:]).replace("_", " ")
            if good != title:
                query["normalized"].append({"fromencoded": False, "from": title, "to": good})
            if good in self.redirects:
                query["redirects"].append({"from": good, "to": self.redirects[good]})
                good = self.redirects[good]
            page = self._page(good)
            if page not in query["pages"]:
                query["pages"].append(page)
        return {"batchcomplete": True, "query": {name: found for name, found in query.items() if found}}

    def _page(self, title: str) -> dict[str, Any]:
        if "<" in title:
            return {"title": title, "invalidreason": "it contains invalid characters", "invalid": True}
        found = self.articles.get(title)
        if found is None:
            return {"ns": 0, "title": title, "missing": True}
        url = f"https://wiki.test/wiki/{title.replace(' ', '_')}"
        return {
            "pageid": found.page_id,
            "ns": 0,
            "title": title,
            "contentmodel": "wikitext",
            "lastrevid": found.revision,
            "length": len(found.text),
            "fullurl": url,
            "canonicalurl": url,
        }


@asynccontextmanager
async def serving(wiki: Wiki) -> AsyncIterator[Wiki]:
    """The double at `wiki.api_url`, until the block ends."""
    async with listening(wiki.answer, address=ADDRESS) as wiki.port:
        yield wiki
