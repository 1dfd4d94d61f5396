"""Walks from the named pages along their links, breadth first, and says of each page what it found.

Used by the http connector. Nothing here ever makes a page look deleted that was not seen to be gone: what could not
be read is told, and where an unread page, an unread sitemap or a bound hides further pages, all of them are kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from lectern_contract.errors import DocumentError
from lectern_runtime.ingest import media_types
from lectern_runtime.ingest.connector import Fetched, Item, Known, Listed, SourceEmpty, SourceUnavailable, Unlisted
from lectern_runtime.ingest.globs import Selection
from lectern_runtime.ingest.retries import TryAgain
from lectern_runtime.ingest.web import origins, pages, urls, validators
from lectern_runtime.ingest.web.exchange import Answer, Exchange, Headers
from lectern_runtime.ingest.web.guarded import Guard
from lectern_runtime.ingest.web.origins import Origins
from lectern_runtime.ingest.web.pages import Directives
from lectern_runtime.ingest.web.seeds import HIDING, Seed, Seeds
from lectern_runtime.ingest.web.spool import Spool

CONCURRENT_PAGES = 4
_GONE = frozenset({404, 410})
_UNTOLD = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/unknown"})
_LEADS_AWAY = frozenset({"HostNotAllowed", "TooLarge", origins.TOO_MANY})
EVERYTHING = ""
"""The uri of an `Unlisted` that keeps every document of the source."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What of the web is meant. `max_documents` counts pages that are asked for, whatever comes of them."""

    max_depth: int
    max_documents: int
    max_document_bytes: int
    selection: Selection
    media_types: Sequence[str]


@dataclass(slots=True)
class _Visit:
    """What came of one page; `blind` says that links of it may have been missed."""

    seed: Seed
    item: Item | None = None
    links: tuple[str, ...] = ()
    blind: bool = False


@dataclass(slots=True)
class Crawl:
    """One walk; `items` may be iterated once."""

    exchange: Exchange
    guard: Guard
    seeds: Seeds
    bounds: Bounds
    known: Known
    spool: Spool
    servers: Origins
    _frontier: deque[Seed] = field(default_factory=deque)
    _seen: set[str] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)
    _listed: int = 0
    _first_failure: str = ""
    _hidden: Unlisted | None = None

    async def items(self) -> AsyncIterator[Item]:
        """Each page that is there, and what could not be seen. Raises `SourceUnavailable` when nothing could be."""
        async for found in self.seeds.items():
            if isinstance(found, Unlisted):
                if found.reason in HIDING:
                    self._hide(found.reason, found.detail)
                yield self._failed(found)
            else:
                self._enqueue(found)
        while self._frontier:
            batch = [self._frontier.popleft() for _ in range(min(CONCURRENT_PAGES, len(self._frontier)))]
            visits = await asyncio.gather(*map(self._visit, batch), return_exceptions=True)
            for visit in visits:
                if isinstance(visit, BaseException):
                    raise visit
                if (item := self._take(visit)) is not None:
                    yield item
        if not self._listed:
            raise self._nothing()
        if self._hidden is not None:
            yield self._hidden

    def _enqueue(self, seed: Seed) -> None:
        leaf = seed.depth >= self.bounds.max_depth
        if seed.url in self._seen or urls.host(seed.url) not in self.guard.hosts:
            return
        if leaf and not self._meant(seed.url):
            return
        if len(self._seen) >= self.bounds.max_documents:
            self._hide(
                "TooManyPages",
                f"there are more than {self.bounds.max_documents} pages; raise spec.http.maxDocuments, or exclude some",
            )
            return
        self._seen.add(seed.url)
        self._frontier.append(seed)

    def _take(self, visit: _Visit) -> Item | None:
        """Follow the links of a visited page and return what is told of it."""
        for link in visit.links:
            self._enqueue(Seed(link, visit.seed.depth + 1))
        item = visit.item
        if isinstance(item, Listed):
            if item.uri != visit.seed.url and item.uri in self._seen:
                return None  # the page that it redirects to is visited by itself
            self._seen.add(item.uri)
            self._listed += 1
            return item if self._meant(item.uri) else None
        if isinstance(item, Unlisted):
            if visit.blind:
                self._hide("LinksUnknown", f"pages that only {item.uri} links to are not known: {item.detail}")
            if item.uri not in self._told and (visit.seed.named or self._meant(visit.seed.url)):
                return self._failed(item)
        return None

    async def _visit(self, seed: Seed) -> _Visit:
        visit = _Visit(seed)
        try:
            answer = await self.exchange.get(
                seed.url,
                limit=self.bounds.max_document_bytes,
                before=lambda url: self._before(url, seed),
                wanted=lambda answer: self._wanted(answer, seed),
            )
        except TryAgain as error:
            self.servers.failed(seed.url)
            visit.item, visit.blind = Unlisted(seed.url, origins.FAILING, str(error)), self._expands(seed)
        except DocumentError as error:
            await self._refused(visit, error)
        else:
            self.servers.answered(seed.url)
            await self._answered(visit, answer)
        return visit

    async def _refused(self, visit: _Visit, error: DocumentError) -> None:
        """Take what kept a page from being read into `visit`; a server that is out of reach is told once."""
        seed, reason = visit.seed, error.reason
        new = not seed.named and not await self.known.etag(seed.url)
        if reason == origins.DENIED and new:
            return  # a link that robots are asked not to follow
        whole_server = reason in (origins.FAILING, origins.UNREACHABLE)
        visit.item = Unlisted(urls.origin(seed.url) if whole_server else seed.url, reason, str(error))
        # A page that was never read and leads away from here has no links that were ever followed.
        visit.blind = self._expands(seed) and not (new and reason in _LEADS_AWAY)

    async def _answered(self, visit: _Visit, answer: Answer) -> None:
        seed = visit.seed
        if answer.detour and answer.url != seed.url and await self.known.etag(seed.url):
            # A page is where it was when it leads elsewhere for a while only, to a login perhaps.
            detail = f"it leads to {answer.url} for now; see that the page is open to everyone"
            visit.item, visit.blind = Unlisted(seed.url, "RedirectedForNow", detail), self._expands(seed)
            return
        directives = pages.directives_of(answer.headers.get_list("x-robots-tag"))
        known = await self.known.etag(answer.url) if answer.status == 304 else ""
        if validators.read(known).conditions():
            if not directives.noindex:
                visit.item = self._item(answer.url, known, None, validators.read(known).media_type)
        elif answer.status == 200:
            await self._read(visit, answer, directives)
        elif answer.status not in _GONE:
            detail = f"the server answers HTTP {answer.status}; see that the page is open to everyone, or exclude it"
            visit.item, visit.blind = Unlisted(seed.url, "Refused", detail), self._expands(seed)
        elif seed.named:
            # Told, but not as the name of a document: one that was there is gone.
            detail = f"the server answers HTTP {answer.status}; correct or remove the URL"
            visit.item = Unlisted(f"spec.http: {seed.url}", "NotFound", detail)

    async def _read(self, visit: _Visit, answer: Answer, directives: Directives) -> None:
        seed, media_type = visit.seed, answer.media_type
        if not self._wanted(answer, seed):
            if seed.named:
                detail = f"{media_type} is not in spec.parsing.mediaTypes; add it there, or remove the URL"
                visit.item = Unlisted(f"spec.http: {seed.url}", "MediaTypeNotAccepted", detail)
            return
        if media_type in pages.HTML or (media_type in _UNTOLD and media_types.by_content(answer.body) == "text/html"):
            page = await asyncio.to_thread(
                pages.read, answer.body, url=answer.url, content_type=answer.headers.get("content-type", "")
            )
            directives |= page.directives
            if self._expands(seed) and not directives.nofollow:
                visit.links = page.links
        if directives.noindex or not self._document(media_type):
            return
        etag = validators.of(answer.body, answer.headers, media_type).text()
        visit.item = self._item(answer.url, etag, len(answer.body), media_type)
        if etag != await self.known.etag(answer.url):
            self.spool.put(answer.url, Fetched(answer.body, media_type=media_type, etag=etag))

    async def _before(self, url: str, seed: Seed) -> Headers:
        await self.servers.enter(url)
        remembered = validators.read(await self.known.etag(url))
        # The answer 304 has no links, so that a page whose links are followed is always asked for whole.
        if self._expands(seed) and (remembered.media_type in pages.HTML or remembered.media_type in _UNTOLD):
            return {}
        return remembered.conditions()

    def _wanted(self, answer: Answer, seed: Seed) -> bool:
        return self._document(answer.media_type) or (self._expands(seed) and answer.media_type in pages.HTML)

    def _document(self, media_type: str) -> bool:
        return media_type in _UNTOLD or media_types.accepted(media_type, self.bounds.media_types)

    def _expands(self, seed: Seed) -> bool:
        return seed.depth < self.bounds.max_depth

    def _meant(self, url: str) -> bool:
        return self.bounds.selection.admits(urls.document_path(url))

    def _item(self, uri: str, etag: str, size: int | None, media_type: str) -> Listed:
        told = "" if media_type in _UNTOLD else media_type
        return Listed(uri, urls.document_path(uri), etag, size, media_type=told)

    def _failed(self, item: Unlisted) -> Unlisted:
        self._told.add(item.uri)
        self._first_failure = self._first_failure or f"{item.uri}: {item.reason}, {item.detail}"
        return item

    def _hide(self, reason: str, detail: str) -> None:
        """Note that there may be pages which this walk does not see."""
        if self._hidden is None:
            self._hidden = Unlisted(EVERYTHING, reason, f"{detail}. Pages that were read before are kept")

    def _nothing(self) -> SourceUnavailable:
        if self._first_failure:
            return SourceUnavailable(f"no page could be read; {self._first_failure}")
        return SourceEmpty(
            "none of the pages of spec.http.urls and spec.http.sitemaps is there to be read: all are gone, not to be "
            "indexed, or excluded; correct them"
        )
