"""One question to a web server and its bounded answer: redirect by redirect, attempt by attempt, piece by piece.

Used by `crawl.py`, the http connector and the wikipedia connector. It bounds time, redirects, packed and unpacked
bytes, and asks the throttle before every request; the client decides whom it may be sent to.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import httpx

from lectern_runtime.ingest.connector import Clock, Throttle
from lectern_runtime.ingest.retries import PASSING_STATUSES, Retries, TryAgain, retry_after
from lectern_runtime.ingest.unread import too_large, unread
from lectern_runtime.ingest.web import urls
from lectern_runtime.ingest.web.guarded import LOCATION
from lectern_runtime.ingest.web.inflate import Damaged, Inflater, TooMuch
from lectern_runtime.ingest.web.urls import UrlRefused

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FOR_GOOD = frozenset({301, 308})
MAX_REDIRECTS = 5
TOTAL_SECONDS = 300.0
_DRAINED_BYTES = 16384
"""A body that nobody wants is read up to this length, so that the connection can be used again."""

Headers = Mapping[str, str]
Before = Callable[[str], Awaitable[Headers]]
"""Called with the URL of each request; its headers, or a `DocumentError` that keeps it from being sent."""
Wanted = Callable[["Answer"], bool]
"""Whether the body of an answer with status 200 is read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. `url` is the canonical URL that answered, after redirects; `body` is unpacked.

    `detour` says that one of the redirects is for now only, so that the page keeps its own URL.
    """

    url: str
    status: int
    headers: httpx.Headers
    location: str | None = None
    body: bytes = field(default=b"", repr=False)
    detour: bool = False

    @property
    def media_type(self) -> str:
        """The media type that the server names, lower case and without parameters; empty when it names none."""
        named = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return named if len(named) <= 127 and named.count("/") == 1 else ""


async def no_headers(_url: str) -> Headers:
    """Send the request as it is."""
    return {}


def every_body(_answer: Answer) -> bool:
    """Read the body."""
    return True


@dataclass(frozen=True, slots=True)
class Exchange:
    """Sends GET requests through `client`; `seconds` bounds each of them as a whole."""

    client: httpx.AsyncClient
    throttle: Throttle
    clock: Clock
    retries: Retries = field(default_factory=Retries)
    seconds: float = TOTAL_SECONDS

    async def get(self, url: str, *, limit: int, before: Before = no_headers, wanted: Wanted = every_body) -> Answer:
        """The answer to a URL, of at most `limit` bytes; each redirect passes `before` again.

        Raises `DocumentError` for what will not be different next time (TooLarge, RedirectRefused,
        CertificateNotTrusted, ...), else `TryAgain` after the last attempt.
        """
        try:
            url = urls.canonical(url)
        except UrlRefused as error:
            raise unread("UrlRefused", f"its URL is not asked: {error}; correct it") from error
        detour = False
        for _ in range(MAX_REDIRECTS + 1):
            headers = await before(url)
            answer = await self._once(url, headers, limit, wanted)
            target = answer.location if answer.status in REDIRECTS else None
            if target is None:
                return replace(answer, detour=detour)
            detour = detour or answer.status not in _FOR_GOOD
            url = _redirected(url, target)
        raise unread("RedirectRefused", f"it leads through more than {MAX_REDIRECTS} redirects; correct the link")

    async def _once(self, url: str, headers: Headers, limit: int, wanted: Wanted) -> Answer:
        async def attempt() -> Answer:
            await self.throttle()
            try:
                async with (
                    asyncio.timeout(self.seconds),
                    self.client.stream("GET", url, headers=dict(headers)) as response,
                ):
                    if response.status_code in PASSING_STATUSES:
                        raise TryAgain(
                            f"{urls.origin(url)} cannot answer now (HTTP {response.status_code}); see its load",
                            retry_after_seconds=retry_after(response.headers.get("retry-after"), now=self.clock()),
                        )
                    return await _read(url, response, limit, wanted)
            except TimeoutError as error:
                raise TryAgain(f"{urls.origin(url)} does not end its answer in {self.seconds:.0f} s") from error
            except httpx.HTTPError as error:
                raise _unanswered(url, error) from error

        return await self.retries.call(attempt)


async def _read(url: str, response: httpx.Response, limit: int, wanted: Wanted) -> Answer:
    said = Answer(url, response.status_code, response.headers, response.extensions.get(LOCATION))
    if response.status_code != 200 or not wanted(said):
        length = response.headers.get("content-length", "")
        if length.isdigit() and len(length) < 6 and int(length) <= _DRAINED_BYTES:
            with contextlib.suppress(httpx.TransportError):
                async for _ in response.aiter_raw():
                    pass
        return said
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        raise unread("EncodingUnknown", "it comes in a content encoding that nobody asked for; see its server")
    unpack = Inflater(limit) if "gzip" in coding else None
    body = bytearray()
    read = 0
    try:
        async for part in response.aiter_raw():
            read += len(part)
            body += part if unpack is None else unpack.feed(part)
            if read > limit or len(body) > limit:
                raise TooMuch
        if unpack is not None and read:
            unpack.end()
    except TooMuch:
        raise too_large(limit) from None
    except Damaged as error:
        raise TryAgain(f"{urls.origin(url)} sent a damaged answer") from error
    return replace(said, body=bytes(body))


def _redirected(url: str, target: str) -> str:
    try:
        found = urls.joined(url, target)
    except UrlRefused as error:
        raise unread("RedirectRefused", f"it leads to what is not asked: {error}; correct the link") from error
    if url.startswith("https:") and not found.startswith("https:"):
        raise unread("RedirectRefused", "it leads from https to http; correct the link")
    return found


def _unanswered(url: str, error: httpx.HTTPError) -> Exception:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return unread(
            "CertificateNotTrusted",
            f"{urls.host(url)} shows a certificate that is not trusted ({cause.verify_message}); set "
            "spec.http.caSecretRef",
        )
    if isinstance(error, httpx.TimeoutException):
        return TryAgain(f"{urls.origin(url)} keeps silent; see its load")
    return TryAgain(
        f"{urls.origin(url)} cannot be reached ({type(error).__name__}); see that it runs and that a NetworkPolicy "
        "lets us out"
    )
