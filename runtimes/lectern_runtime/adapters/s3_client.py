"""Speaks to one bucket of an S3 server: get, put, delete and list, with signatures, bounds, retries and plain errors.

`s3` keeps blobs through it and the S3 connector reads documents. Buckets are addressed by path, as servers outside
AWS want it. Keys are read from their files for every request, so that a renewed Secret is used at once. Neither the
environment nor any configuration of AWS's tools is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import httpx

from lectern_contract.errors import DependencyError
from lectern_runtime.adapters import s3_answers, s3_faults
from lectern_runtime.adapters.renewed import Credentials, Renewed
from lectern_runtime.adapters.s3_answers import Entry, Page, Refusal
from lectern_runtime.adapters.s3_faults import Faults
from lectern_runtime.adapters.s3_signature import TIME_FORM, Keys, authorization, encoded_path, encoded_query
from lectern_runtime.retries import Retries

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5
MOST_PAUSE_SECONDS = 30.0
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0
REQUEST_SECONDS = 60.0
SLOWEST_BYTES_A_SECOND = 256 * 1024
"""A body may take the time that it needs at this speed beside REQUEST_SECONDS."""
MOST_CONNECTIONS = 8
MAX_LISTING_BYTES = 16 << 20
MAX_ERROR_BYTES = 64 * 1024
MAX_KEY_BYTES = 4096
PAGE_KEYS = 1000
"""Keys that are asked for at once; no server gives more."""
MOST_PAGES = 100_000
"""Of one listing: a hundred million keys."""
TOO_LARGE = "TooLarge"
"""Code of the refusal that the client itself makes of an object that is larger than it was asked for."""


class Location(Protocol):
    """Settings of a bucket, as blob stores and sources have them."""

    @property
    def endpoint(self) -> str:
        """URL of the server."""

    @property
    def bucket(self) -> str:
        """Name of the bucket."""

    @property
    def region(self) -> str:
        """Region that requests are signed for."""

    @property
    def access_key_id_file(self) -> str | None:
        """File of the access key's id; without it requests are not signed."""

    @property
    def secret_access_key_file(self) -> str | None:
        """File of the secret access key."""

    @property
    def ca_file(self) -> str | None:
        """Certificate authority of the server in PEM; without it the system's."""


@dataclass(frozen=True, slots=True)
class Object:
    """The bytes of an object and what came along; texts are empty where the server does not tell."""

    data: bytes
    etag: str
    media_type: str
    encoding: str


@dataclass(frozen=True, slots=True)
class _Call:
    """One request; `limit` bounds the body of a good answer in bytes."""

    verb: str
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] | None = None
    body: bytes = b""
    sha256: str = hashlib.sha256().hexdigest()
    limit: int = MAX_ERROR_BYTES


@dataclass(frozen=True, slots=True)
class _Answer:
    headers: httpx.Headers
    body: bytes


class _Again(DependencyError):
    """A fault of one attempt that may pass; `outcome` is the refusal, or None where there was no answer."""

    def __init__(self, outcome: Refusal | None, error: Exception | None = None) -> None:
        super().__init__(
            "the object store cannot answer now",
            dependency="object-store",
            retry_after_seconds=outcome.wait if outcome is not None else None,
        )
        self.outcome = outcome
        self.error = error or self


@dataclass(frozen=True, slots=True)
class Timing:
    """Clocks and chance of a client; tests give their own."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    silence_seconds: float = SILENCE_SECONDS


async def _at_once() -> None:
    """Let a request go."""


class S3Client:
    """The bucket of `location`; `field` is where a person corrects it, `failed` makes the error of its user."""

    def __init__(
        self,
        location: Location,
        *,
        field: str,
        failed: Callable[[str], DependencyError],
        dependency: str,
        throttle: Callable[[], Awaitable[None]] = _at_once,
        timing: Timing | None = None,
    ) -> None:
        self._location = location
        self._url = httpx.URL(location.endpoint).copy_with(userinfo=b"", query=None)
        self._root = f"{self._url.raw_path.decode().rstrip('/')}/{encoded_path(location.bucket)}"
        self._throttle = throttle
        self._timing = timing or Timing()
        self._retries = Retries(
            attempts=ATTEMPTS,
            first_seconds=FIRST_PAUSE_SECONDS,
            longest_asked_seconds=MOST_PAUSE_SECONDS,
            passing=_Again,
            sleep=self._timing.sleep,
            chance=self._timing.chance,
        )
        self._faults = Faults(location, field=field, failed=failed, now=self._timing.now)
        self._slots = asyncio.Semaphore(MOST_CONNECTIONS)
        self._clients: Renewed[httpx.AsyncClient] = Renewed(
            self._client,
            httpx.AsyncClient.aclose,
            dependency=dependency,
            key_file=None,
            ca_file=location.ca_file,
            encrypted=self._url.scheme == "https",
        )

    async def get(self, key: str, *, limit: int, if_match: str = "") -> Object | Refusal:
        """Return the object, of which at most `limit` bytes are read, or why not.

        That is NoSuchKey, TOO_LARGE, s3_answers.PRESENT when its etag is not `if_match`, or a code of the server's.
        Raises the user's error when the server or the bucket cannot be used.
        """
        headers = {"if-match": f'"{if_match}"'} if if_match else None
        answer = await self._ask(_Call("read", "GET", self._path(key), headers=headers, limit=limit))
        if isinstance(answer, Refusal):
            return answer
        return Object(
            data=answer.body,
            etag=s3_answers.bare_etag(answer.headers.get("etag", "")),
            media_type=answer.headers.get("content-type", "").partition(";")[0].strip().lower(),
            encoding=answer.headers.get("content-encoding", "").strip().lower(),
        )

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        sha256: str,
        only_new: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Refusal | None:
        """Store `data`, whose hex digest is `sha256`, whole or not at all; return why not.

        `headers`, with names in lower case, are kept beside it. With `only_new` the refusal is s3_answers.PRESENT where
        there is an object already.
        """
        sent = {**(headers or {}), **({"if-none-match": "*"} if only_new else {})}
        answer = await self._ask(_Call("write", "PUT", self._path(key), headers=sent, body=data, sha256=sha256))
        return answer if isinstance(answer, Refusal) else None

    async def delete(self, key: str) -> Refusal | None:
        """Remove the object; nothing when it is absent."""
        answer = await self._ask(_Call("delete", "DELETE", self._path(key)))
        if isinstance(answer, Refusal) and answer.code != "NoSuchKey":
            return answer
        return None

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        """Yield all objects with keys that begin with `prefix`, in the order of the server, page by page.

        A listing that does not end well raises the user's error, so that no part can pass for the whole.
        """
        token = ""
        for _ in range(MOST_PAGES):
            page = await self._page(prefix, token)
            for entry in page.entries:
                if entry.key is not None and not entry.key.startswith(prefix):
                    raise self._faults.said("lists keys without the prefix that was asked for")
                yield entry
            if not page.token:
                return
            if page.token == token:
                raise self._faults.said("gives the same page of the listing again and again")
            token = page.token
        raise self._faults.said(f"lists more than {MOST_PAGES} pages", "narrow {field}.prefix")

    def error(self, refusal: Refusal, verb: str) -> DependencyError:
        """Return the user's error for a refusal of a request to `verb` (read, write, delete, list)."""
        return self._faults.refused(refusal, verb)

    async def close(self) -> None:
        """Close all connections; a later call opens others."""
        await self._clients.close()

    # ------------------------------------------------------------------------------------- inside

    async def _page(self, prefix: str, token: str) -> Page:
        query = {"list-type": "2", "encoding-type": "url", "max-keys": str(PAGE_KEYS), "prefix": prefix}
        if token:
            query["continuation-token"] = token
        answer = await self._ask(_Call("list", "GET", self._root, query=encoded_query(query), limit=MAX_LISTING_BYTES))
        if isinstance(answer, Refusal) and answer.code == TOO_LARGE:
            raise self._faults.said(f"lists more in one page than fits in {MAX_LISTING_BYTES} bytes")
        if isinstance(answer, Refusal):
            raise self._faults.refused(answer, "list")
        try:
            return s3_answers.page(answer.body)
        except ValueError as error:
            raise self._faults.said(f"answers a listing with {error}") from error

    def _path(self, key: str) -> str:
        return f"{self._root}/{encoded_path(key)}"

    async def _ask(self, call: _Call) -> _Answer | Refusal:
        """Send until there is an answer that another attempt would not change, at most ATTEMPTS times."""
        try:
            return await self._retries.call(lambda: self._attempt(call))
        except _Again as last:
            if last.outcome is None:
                raise self._faults.unanswered(last.error) from last.error
            return self._settled(last.outcome)

    async def _attempt(self, call: _Call) -> _Answer | Refusal:
        await self._throttle()
        keys = self._keys()
        try:
            async with self._slots:
                outcome = await self._send(call, keys)
        except s3_faults.TRANSIENT as error:
            if not s3_faults.passes(error):
                raise self._faults.unanswered(error) from error
            raise _Again(None, error) from error
        if isinstance(outcome, _Answer):
            return outcome
        if self._may_pass(outcome, keys):
            raise _Again(outcome)
        return self._settled(outcome)

    def _may_pass(self, refusal: Refusal, keys: Keys | None) -> bool:
        if refusal.code in s3_faults.KEYS_REFUSED:
            return self._keys() != keys  # the Secret was renewed meanwhile
        return s3_faults.is_passing(refusal)

    def _settled(self, refusal: Refusal) -> Refusal:
        """Return a refusal that is about one object; raise for one that is about the server or the bucket."""
        if refusal.code in s3_faults.OF_THE_BUCKET or not refusal.code:
            raise self._faults.refused(refusal, "list")
        return refusal

    async def _send(self, call: _Call, keys: Keys | None) -> _Answer | Refusal:
        target = f"{call.path}?{call.query}" if call.query else call.path
        async with self._clients.client() as client:
            request = client.build_request(
                call.method,
                self._url,
                headers=self._headers(call, keys),
                content=call.body or None,
                # The bytes that were signed: a URL would lose the dots and slashes that keys may have.
                extensions={"target": target.encode()},
            )
            patience = REQUEST_SECONDS + len(call.body) / SLOWEST_BYTES_A_SECOND
            async with asyncio.timeout(patience) as deadline:
                response = await client.send(request, stream=True)
                async with contextlib.aclosing(response):
                    return await _read(response, call.limit, deadline, now=self._timing.now())

    def _headers(self, call: _Call, keys: Keys | None) -> dict[str, str]:
        headers = {**(call.headers or {}), "host": self._url.netloc.decode()}
        if call.method == "PUT":
            headers["content-length"] = str(len(call.body))
        if keys is not None:
            now = self._timing.now()
            headers |= {"x-amz-content-sha256": call.sha256, "x-amz-date": now.strftime(TIME_FORM)}
            headers["authorization"] = authorization(
                call.method, call.path, call.query, headers, keys=keys, region=self._location.region, now=now
            )
        return headers

    def _keys(self) -> Keys | None:
        id_file, secret_file = self._location.access_key_id_file, self._location.secret_access_key_file
        if id_file is None or secret_file is None:
            return None
        return Keys(self._text(id_file), self._text(secret_file))

    def _text(self, path: str) -> str:
        try:
            with Path(path).open("rb") as stream:
                text = stream.read(MAX_KEY_BYTES).decode("ascii").strip()
        except OSError as error:
            raise self._faults.file(path, error.strerror or "it cannot be read") from error
        except UnicodeDecodeError:
            raise self._faults.file(path, "it is not plain ASCII text") from None
        if not text or not text.isprintable():
            raise self._faults.file(path, "it is empty, or not one line")
        return text

    def _client(self, credentials: Credentials) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=httpx.Timeout(self._timing.silence_seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
            headers={"accept-encoding": "identity"},
            verify=credentials.tls,
            trust_env=False,
        )


async def _read(response: httpx.Response, limit: int, deadline: asyncio.Timeout, *, now: datetime) -> _Answer | Refusal:
    """Return the answer with its body as it was sent; one that is too large is left unread."""
    good = response.status_code in (httpx.codes.OK, httpx.codes.NO_CONTENT)
    most = limit if good else MAX_ERROR_BYTES
    told = response.headers.get("content-length", "")
    size = int(told) if told.isdecimal() else most
    if size > most:
        return Refusal(response.status_code, TOO_LARGE if good else "")
    deadline.reschedule(asyncio.get_running_loop().time() + REQUEST_SECONDS + size / SLOWEST_BYTES_A_SECOND)
    parts, read = [], 0
    async for part in response.aiter_raw():
        parts.append(part)
        read += len(part)
        if read > most:
            return Refusal(response.status_code, TOO_LARGE if good else "")
    body = b"".join(parts)
    if not good:
        return s3_answers.refusal(response.status_code, body, response.headers, now=now.timestamp())
    return _Answer(response.headers, body)
