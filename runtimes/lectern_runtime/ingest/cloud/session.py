"""Sends requests with a token that is obtained when it is needed, kept until shortly before it ends, and never shown.

Used by `drive_api.py` and `graph_api.py`. A token that the API no longer takes is obtained anew once, from the files of
the Secret as they are then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from lectern_runtime.ingest.cloud.rest import Model, Refusal, Rest
from lectern_runtime.ingest.connector import Clock

EARLY_SECONDS = 300.0
Result = TypeVar("Result")


class Token(BaseModel):
    """What token endpoints answer (RFC 6749, 5.1)."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    access_token: str = Field(min_length=1, repr=False)
    expires_in: float = Field(gt=0)


@dataclass(slots=True)
class Session:
    """The API `rest` with tokens that `obtain` brings."""

    rest: Rest
    obtain: Callable[[], Awaitable[Token]]
    clock: Clock
    headers: Mapping[str, str] = field(default_factory=dict)
    _token: Token | None = field(default=None, repr=False)
    _until: float = 0.0
    _obtaining: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def json(self, model: type[Model], url: str, query: Mapping[str, str] | None = None) -> Model:
        """The answer to a GET. Raises `Refusal`, else `SourceUnavailable`."""

        async def ask(headers: Mapping[str, str]) -> Model:
            return await self.rest.json(model, url, headers=headers, query=query)

        return await self._with_token(ask)

    async def data(self, url: str, *, limit: int, query: Mapping[str, str] | None = None) -> bytes:
        """The bytes of an answer, at most one more than `limit`. Raises like `json`."""

        async def ask(headers: Mapping[str, str]) -> bytes:
            return await self.rest.data(url, headers=headers, query=query, limit=limit)

        return await self._with_token(ask)

    async def _with_token(self, ask: Callable[[Mapping[str, str]], Awaitable[Result]]) -> Result:
        token = await self._current(refused=None)
        try:
            return await ask(self._headers(token))
        except Refusal as refusal:
            if refusal.status != 401:
                raise
        return await ask(self._headers(await self._current(refused=token)))

    def _headers(self, token: Token) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {token.access_token}", **self.headers}

    async def _current(self, *, refused: Token | None) -> Token:
        async with self._obtaining:
            if self._token is None or self._token is refused or self.clock() >= self._until:
                self._token = await self.obtain()
                self._until = self.clock() + max(self._token.expires_in - EARLY_SECONDS, self._token.expires_in / 2)
            return self._token
