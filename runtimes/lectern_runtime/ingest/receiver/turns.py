"""One request at a time for each document: those that name the same one wait for each other, the others do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


class Turns:
    """Locks by tenant and uri, made when somebody asks for them and gone when nobody does."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, str], _Turn] = {}

    @asynccontextmanager
    async def of(self, tenant: str, uris: Collection[str]) -> AsyncIterator[None]:
        """Hold all of these documents of the tenant; taken in order, so that no two requests wait for each other."""
        async with AsyncExitStack() as stack:
            for uri in sorted(set(uris)):
                await stack.enter_async_context(self._one((tenant, uri)))
            yield

    @asynccontextmanager
    async def _one(self, place: tuple[str, str]) -> AsyncIterator[None]:
        turn = self._turns.setdefault(place, _Turn())
        turn.wanted += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[place]
