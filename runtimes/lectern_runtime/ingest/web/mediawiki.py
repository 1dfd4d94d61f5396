"""Speaks MediaWiki's action API as far as the wikipedia connector needs it: questions in, checked values out.

Requests are made one after the other and with `maxlag`, as Wikimedia asks of programs; a lagging or read-only server
is asked again when it says so.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lectern_runtime.ingest.connector import SourceUnavailable
from lectern_runtime.ingest.retries import Retries, TryAgain, retry_after
from lectern_runtime.ingest.web import urls
from lectern_runtime.ingest.web.exchange import Exchange

MAX_LAG_SECONDS = 5
MAX_LISTING_BYTES = 16 << 20
MAX_TITLES = 50
"""What the API takes in one request of a client that is not logged in."""
MAX_TITLES_LENGTH = 1500
"""Of the titles as they stand in the URL."""
MEMBERS = 500
CATEGORY_NAMESPACE = 14
_PASSING = ("maxlag", "ratelimited", "readonly", "internal_api_error", "timeouterror", "failed-load")
_CODE = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Refused(SourceUnavailable):
    """The API understood and will not; `code` is its name for the reason."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Page(_Told):
    """A page as `prop=info` tells it."""

    title: str
    pageid: int = 0
    lastrevid: int = 0
    canonicalurl: str = ""
    missing: bool = False
    invalid: bool = False
    special: bool = False


class Renamed(_Told):
    """A title that stands for another one."""

    asked: str = Field(alias="from")
    found: str = Field(alias="to")


class Member(_Told):
    """A page in a category."""

    pageid: int


class Elsewhere(_Told):
    """A title that names a page of another wiki."""

    title: str


class Namespace(_Told):
    """A namespace, by the name that it has in the wiki's language."""

    id: int
    name: str = ""
    canonical: str = ""
    alias: str = ""


class Query(_Told):
    """What the API says to `action=query`."""

    pages: tuple[Page, ...] = ()
    normalized: tuple[Renamed, ...] = ()
    redirects: tuple[Renamed, ...] = ()
    interwiki: tuple[Elsewhere, ...] = ()
    categorymembers: tuple[Member, ...] = ()
    namespaces: dict[str, Namespace] = Field(default_factory=dict)
    namespacealiases: tuple[Namespace, ...] = ()


class Parsed(_Told):
    """What the API says to `action=parse`."""

    title: str
    revid: int = 0
    text: str


class _Error(_Told):
    code: str = ""


class _Reply(_Told):
    error: _Error | None = None
    query: Query | None = None
    parse: Parsed | None = None
    more: dict[str, str | int] | None = Field(default=None, alias="continue")


@dataclass(frozen=True, slots=True)
class MediaWiki:
    """The API at `url`; `exchange` carries the questions, of which one is under way at a time."""

    url: str
    exchange: Exchange
    retries: Retries
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def category_prefixes(self) -> frozenset[str]:
        """What titles of categories begin with in this wiki, in lower case and without the colon."""
        reply = await self._query({"meta": "siteinfo", "siprop": "namespaces|namespacealiases"})
        assert reply.query is not None
        named = (*reply.query.namespaces.values(), *reply.query.namespacealiases)
        found = {
            name.strip().lower()
            for each in named
            if each.id == CATEGORY_NAMESPACE
            for name in (each.name, each.canonical, each.alias)
        }
        return frozenset((found | {"category"}) - {""})

    async def members(
        self, category: str, continued: Mapping[str, str | int]
    ) -> tuple[list[int], Mapping[str, str | int]]:
        """Ids of articles in a category, its subcategories left out, and what to go on with; empty at the end."""
        asked: dict[str, str | int] = {
            "list": "categorymembers",
            "cmtitle": category,
            "cmtype": "page",
            "cmnamespace": 0,
            "cmlimit": MEMBERS,
        }
        reply = await self._query({**asked, **continued})
        assert reply.query is not None
        return [member.pageid for member in reply.query.categorymembers], reply.more or {}

    async def info(self, *, titles: Sequence[str] = (), page_ids: Sequence[int] = ()) -> Query:
        """The pages of these titles or ids, redirects followed, each with its last revision and its URL."""
        which = {"titles": "|".join(titles)} if titles else {"pageids": "|".join(map(str, page_ids))}
        reply = await self._query({"prop": "info", "inprop": "url", "redirects": 1, **which})
        assert reply.query is not None
        if reply.more:
            raise self._failed("does not tell all of what it was asked at once; check spec.wikipedia.apiUrl")
        return reply.query

    async def parse(self, title: str, *, limit: int) -> Parsed:
        """The article as HTML, of at most `limit` bytes as the API sends it. Raises `Refused` where there is none."""
        asked: dict[str, str | int] = {
            "page": title,
            "prop": "text|revid",
            "disablelimitreport": 1,
            "disableeditsection": 1,
            "disabletoc": 1,
        }
        reply = await self._ask({"action": "parse", **asked}, limit=limit)
        if reply.parse is None:
            raise self._failed("answers with no article; check spec.wikipedia.apiUrl")
        return reply.parse

    async def _query(self, asked: Mapping[str, str | int]) -> _Reply:
        reply = await self._ask({"action": "query", **asked}, limit=MAX_LISTING_BYTES)
        return reply if reply.query is not None else reply.model_copy(update={"query": Query()})

    async def _ask(self, asked: Mapping[str, str | int], *, limit: int) -> _Reply:
        parameters = {**asked, "format": "json", "formatversion": 2, "maxlag": MAX_LAG_SECONDS}
        url = f"{self.url}?{urlencode(parameters)}"
        once = replace(self.exchange, retries=Retries(attempts=1))

        async def attempt() -> _Reply:
            answer = await once.get(url, limit=limit)
            if answer.status != 200:
                raise self._failed(f"answers HTTP {answer.status}; check spec.wikipedia.apiUrl")
            try:
                reply = _Reply.model_validate(json.loads(answer.body))
            except (ValueError, ValidationError, RecursionError) as error:
                raise self._failed("answers with something else than MediaWiki's API; check the URL") from error
            if reply.error is not None:
                code = reply.error.code if _CODE.fullmatch(reply.error.code) else "unknown"
                if code.startswith(_PASSING):
                    asked_for = retry_after(answer.headers.get("retry-after"), now=self.exchange.clock())
                    raise TryAgain(f"{self._shown} cannot answer now ({code})", retry_after_seconds=asked_for)
                raise Refused(f"{self._shown} refuses to answer ({code}); check spec.wikipedia", code=code)
            return reply

        async with self._turn:
            return await self.retries.call(attempt)

    @property
    def _shown(self) -> str:
        return f"the wiki at {urls.origin(self.url)}"

    def _failed(self, what: str) -> SourceUnavailable:
        return SourceUnavailable(f"{self._shown} {what}")
