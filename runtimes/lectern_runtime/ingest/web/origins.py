"""What a crawl knows of each server: its robots.txt, when it may be asked again, and whether it answers at all.

`crawl.py` enters an origin before every request, redirects included.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from lectern_contract.errors import DocumentError
from lectern_runtime.ingest.retries import TryAgain
from lectern_runtime.ingest.unread import unread
from lectern_runtime.ingest.web import robots, urls
from lectern_runtime.ingest.web.exchange import Exchange
from lectern_runtime.ingest.web.robots import Robots

MAX_ORIGINS = 256
"""Hosts are few, but a page can link to every port of them."""
MAX_FAILURES = 5
"""After so many pages in a row that a server could not answer, it is left alone for the rest of the run."""
_ROBOTS_LIMIT = 8 << 20
FAILING, UNREACHABLE, DENIED, TOO_MANY = "ServerFailing", "RobotsUnreachable", "RobotsDenied", "TooManyServers"


@dataclass(slots=True)
class _Origin:
    rules: Robots | None = None
    refused: DocumentError | None = None
    failures: int = 0
    free_at: float = 0.0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Origins:
    """The servers of one crawl. `now` counts seconds and never goes back."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange, self._sleep, self._now = exchange, sleep, now
        self._origins: dict[str, _Origin] = {}

    async def enter(self, url: str) -> None:
        """Return when the canonical `url` may be requested. Raises `DocumentError` when it may not."""
        name = urls.origin(url)
        if name not in self._origins and len(self._origins) >= MAX_ORIGINS:
            raise unread(TOO_MANY, f"the pages name more than {MAX_ORIGINS} servers (hosts with a port); exclude some")
        origin = self._origins.setdefault(name, _Origin())
        if origin.failures >= MAX_FAILURES:
            raise unread(FAILING, f"{name} could not answer for {MAX_FAILURES} pages in a row; see that it runs")
        rules = await self._rules(name, origin)
        if not rules.allows(url):
            raise unread(
                DENIED, f"robots.txt of {name} denies it to {robots.PRODUCT}; exclude it, or ask its owner to allow it"
            )
        if rules.delay_seconds:
            async with origin.turn:
                wait = origin.free_at - self._now()
                if wait > 0:
                    await self._sleep(wait)
                origin.free_at = self._now() + rules.delay_seconds

    def answered(self, url: str) -> None:
        """Note that the server of `url` answers."""
        if (origin := self._origins.get(urls.origin(url))) is not None:
            origin.failures = 0

    def failed(self, url: str) -> None:
        """Note that the server of `url` could not answer, even when asked again."""
        if (origin := self._origins.get(urls.origin(url))) is not None:
            origin.failures += 1

    async def _rules(self, name: str, origin: _Origin) -> Robots:
        async with origin.asking:
            if origin.rules is None and origin.refused is None:
                try:
                    answer = await self._exchange.get(f"{name}/robots.txt", limit=_ROBOTS_LIMIT)
                    origin.rules = robots.read(answer.status, answer.body)
                    if not origin.rules.reachable:
                        origin.refused = _unreachable(name, f"it answers HTTP {answer.status}")
                except TryAgain as error:
                    origin.refused = _unreachable(name, str(error))
                except DocumentError as error:
                    # What keeps us from the file keeps us from the pages, and its own words say more.
                    origin.refused = error
        if origin.refused is not None:
            raise origin.refused
        assert origin.rules is not None
        return origin.rules


def _unreachable(name: str, cause: str) -> DocumentError:
    return unread(UNREACHABLE, f"nobody knows what robots.txt of {name} allows, so nothing is fetched: {cause}")
