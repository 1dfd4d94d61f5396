"""Where a crawl begins: the pages that a source names, and those that its sitemaps name.

Used by `crawl.py`. A sitemap that cannot be read hides pages, which is told and never taken for their removal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from lectern_contract.errors import DocumentError
from lectern_runtime.ingest.connector import Unlisted
from lectern_runtime.ingest.retries import TryAgain
from lectern_runtime.ingest.web import sitemaps, urls
from lectern_runtime.ingest.web.exchange import Exchange
from lectern_runtime.ingest.web.guarded import Guard
from lectern_runtime.ingest.web.sitemaps import Sitemap, SitemapDamaged
from lectern_runtime.ingest.web.urls import UrlRefused

MAX_SITEMAPS = 1000
MAX_FAILURES = 5
"""After so many sitemaps in a row that could not be read the rest is left to the next run."""
UNREADABLE = "SitemapUnreadable"
HIDING = frozenset({UNREADABLE, "SitemapTooDeep", "TooManySitemaps"})
"""Why there may be pages that are not told."""
MAX_SITEMAP_DEPTH = 2
"""An index names sitemaps; some servers let an index name indexes."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A page to visit, by its canonical URL; `named` says that no link led to it but the source or a sitemap."""

    url: str
    depth: int = 0
    named: bool = False


@dataclass(frozen=True, slots=True)
class Seeds:
    """The pages to begin with, in order."""

    urls: Sequence[str]
    sitemaps: Sequence[str]
    exchange: Exchange
    guard: Guard

    async def items(self) -> AsyncIterator[Seed | Unlisted]:
        """Each page, perhaps more than once, and each sitemap of which not everything can be told."""
        for url in self.urls:
            try:
                yield Seed(self.guard.admit(url), named=True)
            except DocumentError as error:
                yield Unlisted(url, error.reason, str(error))
        waiting = [(url, 0) for url in self.sitemaps]
        asked: set[str] = set()
        failures = 0
        while waiting and failures < MAX_FAILURES:
            url, depth = waiting.pop(0)
            if url in asked:
                continue
            asked.add(url)
            if len(asked) > MAX_SITEMAPS:
                yield Unlisted(url, "TooManySitemaps", f"the sitemaps name more than {MAX_SITEMAPS} sitemaps")
                return
            try:
                found = await self._sitemap(url)
            except (DocumentError, TryAgain, SitemapDamaged) as error:
                failures += 1
                yield Unlisted(url, UNREADABLE, f"the sitemap cannot be read: {error}")
                continue
            failures = 0
            for seed in self._pages(url, found):
                yield seed
            if found.sitemaps and depth >= MAX_SITEMAP_DEPTH:
                yield Unlisted(url, "SitemapTooDeep", "sitemap indexes are read to a depth of two; name its parts")
            else:
                waiting.extend((each, depth + 1) for each in found.sitemaps)

    async def _sitemap(self, url: str) -> Sitemap:
        answer = await self.exchange.get(self.guard.admit(url), limit=sitemaps.MAX_BYTES)
        if answer.status != 200:
            raise SitemapDamaged(f"the server answers HTTP {answer.status}; correct spec.http.sitemaps")
        return await asyncio.to_thread(sitemaps.read, answer.body)

    def _pages(self, sitemap: str, found: Sitemap) -> list[Seed | Unlisted]:
        """The pages of one sitemap; those that are not asked are told together."""
        seeds: list[Seed | Unlisted] = []
        refused = elsewhere = 0
        example = ""
        for text in found.pages:
            try:
                url = urls.canonical(text)
            except UrlRefused:
                refused += 1
                continue
            if urls.host(url) in self.guard.hosts:
                seeds.append(Seed(url, named=True))
            else:
                elsewhere, example = elsewhere + 1, urls.host(url)
        if elsewhere:
            detail = f"{elsewhere} of its pages lie on hosts that are not asked, such as {example}"
            seeds.append(Unlisted(sitemap, "HostNotAllowed", f"{detail}; add them to spec.http.allowedHosts"))
        if refused:
            seeds.append(Unlisted(sitemap, "UrlRefused", f"{refused} of its entries are no URLs of web pages"))
        return seeds
