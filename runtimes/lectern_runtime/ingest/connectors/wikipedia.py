"""Lists and reads articles of Wikipedia, or of another MediaWiki, by title and by category, through its action API.

Used by `run.py` through the registry. A document's uri is the URL under which people read the article, its path the
title, its etag the revision. The API's address is the source's own, as that of an object store is, so that it may lie
in a private network; where a cloud hands out credentials it may not.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from urllib.parse import quote_plus

from lectern_contract.errors import DocumentError
from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import WikipediaSource
from lectern_runtime.ingest.connector import (
    Fetched,
    Item,
    Known,
    Listed,
    Listing,
    Means,
    SourceEmpty,
    SourceUnavailable,
    Unlisted,
)
from lectern_runtime.ingest.retries import TryAgain
from lectern_runtime.ingest.unread import too_large, unread
from lectern_runtime.ingest.web import addresses, article, guarded, urls
from lectern_runtime.ingest.web.api_source import ApiSource
from lectern_runtime.ingest.web.exchange import Exchange
from lectern_runtime.ingest.web.guarded import Guard
from lectern_runtime.ingest.web.mediawiki import MAX_TITLES, MAX_TITLES_LENGTH, MediaWiki, Page, Query, Refused
from lectern_runtime.ingest.web.urls import UrlRefused

FORM = 1
"""Raised whenever the same revision would give other bytes."""
EVERYTHING = ""
MAX_PAGES = 5_000
"""Of the members of one category; the wiki decides how many it puts into one, which may be none."""
ENDLESS = "the wiki's list of a category does not end; see spec.wikipedia.apiUrl, or name fewer categories"
_ANY_NETWORK = ("0.0.0.0/0", "::/0")
_TOLD_NAMES = 10
_SPARE_BYTES = 1 << 20
logger = logging.getLogger("lectern.connector")


def open_connector(settings: ConnectorSettings, means: Means) -> Wikipedia:
    """The connector for the articles that `settings.source` names."""
    return Wikipedia(settings, means)


class Wikipedia(ApiSource[MediaWiki]):
    """The articles of one source."""

    @property
    def _source(self) -> WikipediaSource:
        assert isinstance(self._settings.source, WikipediaSource)
        return self._settings.source

    async def list(self, known: Known) -> Listing:
        """Every article. Iterating raises `SourceUnavailable`, or `SourceEmpty` when there is none."""
        del known  # which articles are in a category can only be asked as a whole
        return Listing(_Walk(self._source, self._opened(), self._settings.name).items())

    async def fetch(self, listed: Listed) -> Fetched:
        """The article as HTML under its title. Raises `DocumentError`, for instance Vanished or TooLarge."""
        try:
            found = await self._opened().parse(listed.path, limit=2 * self._max_bytes + _SPARE_BYTES)
        except Refused as error:
            gone = error.code in ("missingtitle", "nosuchpageid")
            raise unread("Vanished" if gone else "Refused", str(error)) from error
        except TryAgain as error:
            raise unread("ServerFailing", str(error)) from error
        data = article.document(found.title, found.text).encode("utf-8", "replace")
        if len(data) > self._max_bytes:
            raise too_large(self._max_bytes)
        return Fetched(data, media_type="text/html", title=found.title, etag=_etag(found.revid))

    def _open(self) -> MediaWiki:
        try:
            url = urls.canonical(self._source.api_url)
        except UrlRefused as error:
            raise SourceUnavailable(f"spec.wikipedia.apiUrl cannot be asked: {error}; correct it") from error
        guard = Guard(frozenset({urls.host(url)}), addresses.networks(_ANY_NETWORK), self._asking.resolve)
        client = self._keep(guarded.open_client(guard, tls=guarded.tls_context(None), user_agent=user_agent()))
        return MediaWiki(
            url, Exchange(client, self._means.throttle, self._means.clock, self._asking.retries), self._asking.retries
        )


@dataclass(slots=True)
class _Walk:
    """One listing: named titles first, then category by category, every article once."""

    source: WikipediaSource
    wiki: MediaWiki
    name: str
    _seen: set[int] = field(default_factory=set)
    _asked: int = 0
    _renamed: dict[str, str] = field(default_factory=dict)
    _hidden: Unlisted | None = None
    _failure: str = ""

    async def items(self) -> AsyncIterator[Item]:
        try:
            async for item in self._titles():
                yield item
            async for item in self._categories():
                yield item
        except DocumentError as error:
            raise SourceUnavailable(f"the wiki cannot be asked: {error}") from error
        self._say_names()
        if not self._seen:
            raise SourceEmpty(f"the wiki has none of the articles of spec.wikipedia{self._failure}; correct them")
        if self._hidden is not None:
            yield self._hidden

    async def _titles(self) -> AsyncIterator[Item]:
        good = [title for title in dict.fromkeys(self.source.titles) if "|" not in title]
        for title in self.source.titles:
            if "|" in title:
                yield self._fault(title, "TitleInvalid", "no title holds a |; write one title an entry")
        for titles in _batches(good[: self.source.max_documents]):
            query = await self.wiki.info(titles=titles)
            for item in self._taken(query, self._asked_as(query, titles)):
                yield item
        self._asked = len(good)
        if self._asked > self.source.max_documents:
            self._hide_rest()

    async def _categories(self) -> AsyncIterator[Item]:
        if not self.source.categories:
            return
        prefixes = await self.wiki.category_prefixes()
        for category in self.source.categories:
            prefix, colon, _ = category.partition(":")
            title = category if colon and prefix.strip().lower() in prefixes else f"Category:{category}"
            continued: Mapping[str, str | int] = {}
            empty = True
            for _ in range(MAX_PAGES):
                if self._asked >= self.source.max_documents:
                    self._hide_rest()
                    return
                members, following = await self.wiki.members(title, continued)
                empty = empty and not members
                new = [page_id for page_id in members if page_id not in self._seen]
                room = self.source.max_documents - self._asked
                self._asked += min(room, len(new))
                for start in range(0, min(room, len(new)), MAX_TITLES):
                    query = await self.wiki.info(page_ids=new[start : min(room, start + MAX_TITLES)])
                    for item in self._taken(query, {}):
                        yield item
                if len(new) > room:
                    self._hide_rest()
                if not following:
                    break
                if following == continued:
                    raise SourceUnavailable(ENDLESS)
                continued = following
            else:
                raise SourceUnavailable(ENDLESS)
            if empty:
                # Renaming a category empties it, which says nothing of its articles.
                yield self._fault(category, "CategoryEmpty", "the wiki has no article in it; correct its name")
                self._hide("CategoryEmpty", f"the category {category} has no articles")

    def _taken(self, query: Query, asked: Mapping[str, str]) -> Iterator[Item]:
        """The items for the pages of an answer; `asked` gives what a title was asked as."""
        for away in query.interwiki:
            yield self._fault(asked.get(away.title, away.title), "OtherWiki", "the title names another wiki; remove it")
        for page in query.pages:
            written = asked.get(page.title, page.title)
            if page.invalid or page.special:
                yield self._fault(written, "TitleInvalid", "the wiki takes it for no title of an article; correct it")
            elif page.missing:
                yield self._fault(written, "NotFound", "the wiki has no such article; correct or remove the title")
            elif page.pageid not in self._seen:
                self._seen.add(page.pageid)
                yield self._listed(page)

    def _listed(self, page: Page) -> Item:
        try:
            uri = urls.canonical(page.canonicalurl)
        except UrlRefused as error:
            return self._fault(page.title, "UrlRefused", f"the wiki gives it no usable URL: {error}")
        return Listed(uri, page.title, _etag(page.lastrevid), None, media_type="text/html")

    def _asked_as(self, query: Query, titles: Sequence[str]) -> dict[str, str]:
        """What each title of an answer was asked as: the wiki normalises titles and follows redirects."""
        found = {title: title for title in titles}
        for renamed in (*query.normalized, *query.redirects):
            written = found.get(renamed.asked, renamed.asked)
            found[renamed.found] = written
            self._renamed[written] = renamed.found
        return found

    def _say_names(self) -> None:
        if self._renamed:
            some = "; ".join(f"{asked!r} is {found!r}" for asked, found in list(self._renamed.items())[:_TOLD_NAMES])
            logger.info("%s: %d titles stand for others: %s", self.name, len(self._renamed), some)

    def _fault(self, name: str, reason: str, detail: str) -> Unlisted:
        # Told, but not as the name of a document: one that was there is gone.
        self._failure = self._failure or f" ({name}: {reason})"
        return Unlisted(f"spec.wikipedia: {name}", reason, detail)

    def _hide_rest(self) -> None:
        self._hide(
            "TooManyPages",
            f"there are more than {self.source.max_documents} articles; raise spec.wikipedia.maxDocuments",
        )

    def _hide(self, reason: str, detail: str) -> None:
        """Note that there may be articles which this listing does not name."""
        if self._hidden is None:
            self._hidden = Unlisted(EVERYTHING, reason, f"{detail}. Articles that were read before are kept")


def user_agent() -> str:
    """How Lectern names itself to wikis, which turn nameless programs away."""
    return f"Lectern/{version('lectern')} (reads articles for a search index) httpx/{version('httpx')}"


def _batches(titles: Sequence[str]) -> Iterator[list[str]]:
    """Titles in lists that fit into one request."""
    batch: list[str] = []
    length = 0
    for title in titles:
        size = len(quote_plus(title)) + 3
        if batch and (len(batch) >= MAX_TITLES or length + size > MAX_TITLES_LENGTH):
            yield batch
            batch, length = [], 0
        batch.append(title)
        length += size
    if batch:
        yield batch


def _etag(revision: int) -> str:
    return f"{revision}.{FORM}" if revision else ""
