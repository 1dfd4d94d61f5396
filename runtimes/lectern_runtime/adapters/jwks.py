"""The signing keys of an issuer from its JSON Web Key Set at a URL, kept in memory with bounds.

A key set is read when a token first needs it, again when it is older than `FRESH_SECONDS`, and again for a key that it
does not have: an issuer that rotated. While the issuer is away the last good keys serve for `STALE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import httpx

from lectern_contract.errors import DependencyError
from lectern_runtime import signing_keys
from lectern_runtime.signing_keys import DEPENDENCY, SigningKey

FRESH_SECONDS = 300.0
STALE_SECONDS = 24 * 3600.0
PAUSE_SECONDS = 10.0
"""Between two attempts, whatever they are made for: tokens with made-up key ids cost the issuer no more than that."""
FETCH_SECONDS = 3.0
MOST_BYTES = 256 * 1024
logger = logging.getLogger("lectern.query")


class JwksKeys:
    """The `SigningKeys` at one URL. One attempt runs at a time, and all who need it wait for that one."""

    def __init__(self, url: str, client: httpx.AsyncClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._client = client
        self._clock = clock
        self._keys: tuple[SigningKey, ...] = ()
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._failure: DependencyError | None = None
        self._attempt: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, url: str) -> JwksKeys:
        """Return the keys at `url`, which is asked when a token needs it; redirects are not followed."""
        one = httpx.Limits(max_connections=1)
        return cls(url, httpx.AsyncClient(timeout=FETCH_SECONDS, limits=one, trust_env=False))

    async def named(self, key_id: str) -> Sequence[SigningKey]:
        """The keys with this id; none when the issuer has none. Raises `DependencyError` when nobody can say."""
        if self._age() > FRESH_SECONDS:
            attempt = self._attempted()
            # An issuer that is away delays nobody whose key is known: its return is noticed beside the requests.
            if attempt is not None and (self._failure is None or not self._with(key_id)):
                await asyncio.shield(attempt)
        if not self._with(key_id) and (attempt := self._attempted()) is not None:
            await asyncio.shield(attempt)
        found = self._with(key_id)
        if not found and (self._failure is not None or self._age() > STALE_SECONDS):
            raise self._failure or DependencyError("the issuer's keys were not read yet", dependency=DEPENDENCY)
        return found

    async def close(self) -> None:
        """End an attempt that is under way and close the connection."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.gather(self._attempt, return_exceptions=True)
        await self._client.aclose()

    def _age(self) -> float:
        return self._clock() - self._read_at

    def _with(self, key_id: str) -> tuple[SigningKey, ...]:
        usable = self._keys if self._age() <= STALE_SECONDS else ()
        return tuple(key for key in usable if key.id == key_id)

    def _attempted(self) -> asyncio.Task[None] | None:
        """The attempt under way, or a new one unless the last one was a moment ago."""
        if self._attempt is None or self._attempt.done():
            if self._clock() - self._tried_at < PAUSE_SECONDS:
                return None
            self._tried_at = self._clock()
            self._attempt = asyncio.create_task(self._refresh())
        return self._attempt

    async def _refresh(self) -> None:
        """Read the key set; a failure is kept for those who ask, and the last good keys with it."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                data = await self._fetch()
            keys = await asyncio.to_thread(signing_keys.read, data)
        except (DependencyError, TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            first = self._failure is None
            self._failure = error if isinstance(error, DependencyError) else self._away(type(error).__name__)
            logger.log(logging.WARNING if first else logging.DEBUG, "%s", self._failure)
            return
        if not keys:
            logger.warning("the key set at %s has no key that verifies tokens; none is accepted now", self._url)
        self._keys, self._read_at, self._failure = keys, self._clock(), None

    async def _fetch(self) -> bytes:
        # Not packed: a bound on what arrives would be none on what it unfolds to.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._client.stream("GET", self._url, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise self._away(f"status {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise signing_keys.malformed("it came packed, though that was not asked for")
            data = bytearray()
            async for part in response.aiter_raw():
                data += part
                if len(data) > MOST_BYTES:
                    raise signing_keys.malformed(f"it has more than {MOST_BYTES} bytes")
            return bytes(data)

    def _away(self, cause: str) -> DependencyError:
        return DependencyError(
            f"the issuer's key set at {self._url} cannot be read ({cause}); does spec.auth.jwt.jwksUrl answer from "
            "this pod?",
            dependency=DEPENDENCY,
        )
