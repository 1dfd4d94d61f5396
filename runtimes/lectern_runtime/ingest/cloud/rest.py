"""One question to a vendor's API and its bounded answer: with a token, again after a passing fault, never elsewhere.

Used by the modules of each vendor. Every address lies below the API's own root, since a token goes with it; redirects
are handed back and not followed. What may pass is a matter of the status, and of the vendor's code where one says more.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from lectern_contract.errors import DocumentError
from lectern_runtime.ingest.connector import Clock, SourceUnavailable, Throttle
from lectern_runtime.ingest.retries import PASSING_STATUSES, Retries, TryAgain, retry_after
from lectern_runtime.ingest.web import addresses, guarded
from lectern_runtime.ingest.web.guarded import LOCATION, Guard, Resolve

TOTAL_SECONDS = 300.0
MAX_ANSWER_BYTES = 16 << 20
MAX_REFUSAL_BYTES = 1 << 16
REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = f"Lectern/{version('lectern')} (reads documents for a search index)"
_ANY_NETWORK = ("0.0.0.0/0", "::/0")
Model = TypeVar("Model", bound=BaseModel)


class Refusal(Exception):
    """An answer that is no success: `code` is the vendor's word for why, empty where there is none.

    `location` is where a redirect leads; it may hold a secret.
    """

    def __init__(self, status: int, code: str, location: str | None = None) -> None:
        super().__init__(f"HTTP {status}{f', {code}' if code else ''}")
        self.status, self.code, self.location = status, code, location


@dataclass(frozen=True, slots=True)
class CloudGuard(Guard):
    """Lets requests through by scheme, and by host where `hosts` names any: `Rest` judges addresses of its API itself.

    Addresses of these clouds are longer than those of pages, and are secrets that no error may repeat.
    """

    schemes: frozenset[str] = frozenset({"https"})

    def admit(self, url: str) -> str:
        """Return the URL as it is. Raises `DocumentError` (AddressRefused)."""
        parts = urlsplit(url)
        if parts.scheme not in self.schemes or not parts.hostname or (self.hosts and parts.hostname not in self.hosts):
            raise DocumentError(
                "it leads to an address that is not asked; see who answers for the API",
                stage="fetch",
                reason="AddressRefused",
            )
        return url


@dataclass(frozen=True, slots=True)
class Rest:
    """Sends requests below `root` through `client`. `name` is the API's in errors.

    `code` finds the vendor's word in the body of a refusal; `passes` says of one that it may pass.
    """

    name: str
    root: str
    client: httpx.AsyncClient
    throttle: Throttle
    clock: Clock
    retries: Retries
    code: Callable[[object], str]
    passes: Callable[[Refusal], bool] = lambda _: False
    seconds: float = TOTAL_SECONDS

    async def json(
        self,
        model: type[Model],
        url: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Model:
        """The answer to a GET, or to a POST of `form`. Raises `Refusal`, else `SourceUnavailable`."""
        data = await self.data(url, headers=headers, query=query, form=form, limit=MAX_ANSWER_BYTES)
        if len(data) > MAX_ANSWER_BYTES:
            raise self._unusable(f"is longer than {MAX_ANSWER_BYTES} bytes")
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise self._unusable(f"has no usable {where or 'JSON'}") from error

    async def data(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        limit: int,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> bytes:
        """The bytes of an answer, of which at most one more than `limit` are read. Raises like `json`."""
        self._check(url)

        async def attempt() -> bytes:
            await self.throttle()
            try:
                async with (
                    asyncio.timeout(self.seconds),
                    self.client.stream(
                        "GET" if form is None else "POST",
                        url,
                        params=dict(query) if query else None,
                        data=dict(form) if form is not None else None,
                        headers={"Accept-Encoding": "identity", **headers},
                    ) as response,
                ):
                    if response.status_code == 200:
                        return await self._read(response, limit)
                    raise await self._refused(response)
            except TimeoutError as error:
                raise TryAgain(f"{self.name} does not end its answer in {self.seconds:.0f} s; see its state") from error
            except httpx.HTTPError as error:
                raise self._unanswered(error) from error
            except DocumentError as error:  # what the guard of the client does not let through
                raise SourceUnavailable(
                    f"{self.name} is at an address that is not asked ({error.reason}); see who answers for its name"
                ) from error

        return await self.retries.call(attempt)

    def _check(self, url: str) -> None:
        asked, root = urlsplit(url), urlsplit(self.root)
        same = (asked.scheme, asked.netloc) == (root.scheme, root.netloc)
        if not same or not asked.path.startswith(root.path) or ".." in asked.path.split("/"):
            raise self._unusable("names an address outside the API, to which no token goes")

    async def _read(self, response: httpx.Response, limit: int) -> bytes:
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise self._unusable("comes in an encoding that nobody asked for")
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > limit:
                return bytes(body[: limit + 1])
        return bytes(body)

    async def _refused(self, response: httpx.Response) -> Exception:
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > MAX_REFUSAL_BYTES:
                break
        refusal = Refusal(response.status_code, _word(self._code(bytes(body))), response.extensions.get(LOCATION))
        if refusal.status in PASSING_STATUSES or self.passes(refusal):
            asked = retry_after(response.headers.get("retry-after"), now=self.clock())
            return TryAgain(f"{self.name} cannot answer now ({refusal}); see its quota", retry_after_seconds=asked)
        return refusal

    def _code(self, body: bytes) -> str:
        try:
            return self.code(json.loads(body))
        except (ValueError, RecursionError):
            return ""

    def _unusable(self, why: str) -> SourceUnavailable:
        return SourceUnavailable(f"an answer of {self.name} {why}; see that the API's address is right")

    def _unanswered(self, error: httpx.HTTPError) -> SourceUnavailable:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SourceUnavailable(f"{self.name} shows a certificate that is not trusted; see who answers for it")
        if isinstance(error, httpx.TimeoutException):
            return TryAgain(f"{self.name} keeps silent; see its state")
        return TryAgain(f"{self.name} cannot be reached ({type(error).__name__}); see that a NetworkPolicy lets us out")


def open_client(
    roots: Iterable[str], *, elsewhere: bool = False, resolve: Resolve = guarded.resolve
) -> httpx.AsyncClient:
    """A client for the APIs at `roots`, whose hosts may lie in any network but where clouds hand out credentials.

    `elsewhere` lets it ask other hosts as well. Raises `SourceUnavailable` for a root without a usable host.
    """
    parts = [urlsplit(root) for root in roots]
    if not all(part.hostname and part.scheme in ("http", "https") for part in parts):
        raise SourceUnavailable("an address of the API has no host or is not of the web; correct the source's settings")
    hosts = frozenset() if elsewhere else frozenset(part.hostname or "" for part in parts)
    schemes = frozenset(part.scheme for part in parts)
    guard = CloudGuard(hosts, addresses.networks(_ANY_NETWORK), resolve, schemes)
    return guarded.open_client(guard, tls=guarded.tls_context(None), user_agent=USER_AGENT)


def _word(text: object) -> str:
    """The code where it is a plain word: other text of an answer is not repeated."""
    return text if isinstance(text, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,63}", text) else ""
