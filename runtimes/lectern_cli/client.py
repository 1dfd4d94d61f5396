"""Calls of a running Lectern over HTTP, for `lectern ask`, `status`, `sources` and `demo`.

Every failure becomes a sentence with the next step; answers come back as plain values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from lectern_cli.sources import SOURCES, Source
from lectern_contract.errors import DependencyError, LecternError
from lectern_contract.reports import RunMode

TIMEOUT_SECONDS = 60.0


class RequestRefused(LecternError):
    """The server understood the request and refused it; `code` is its stable word for why."""

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Client:
    """A running Lectern at `url`."""

    url: str
    http: httpx.AsyncClient

    async def ask(self, question: str, *, top_k: int | None = None) -> dict[str, Any]:
        """The answer to a question, as `/v1/query` gives it."""
        body: dict[str, Any] = {"question": question}
        if top_k is not None:
            body["top_k"] = top_k
        return await self._call("POST", "/v1/query", json=body)

    async def resources(self) -> list[dict[str, Any]]:
        """The resources with their status; only an embedded Lectern serves them."""
        items = (await self._call("GET", "/resources")).get("items")
        if not isinstance(items, list):
            raise DependencyError(
                f"{self.url} is not an embedded Lectern: /resources has no items; check --url", dependency=self.url
            )
        return items

    async def sources(self) -> list[Source]:
        """What is known of each source; only an embedded Lectern tells it."""
        items = (await self._call("GET", "/sources")).get("items")
        try:
            return SOURCES.validate_python(items)
        except ValidationError as error:
            raise DependencyError(
                f"{self.url} is not an embedded Lectern of this release: /sources has no items; check --url",
                dependency=self.url,
            ) from error

    async def sync(self, name: str, mode: RunMode) -> int:
        """Ask for a run of a source; it has ended once its `finished_runs` is what is returned."""
        answer = await self._call("POST", f"/sources/{quote(name, safe='')}/sync", json={"mode": mode.value})
        return int(answer["finishedRuns"])

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = await self.http.request(method, self.url + path, timeout=TIMEOUT_SECONDS, **options)
        except httpx.TimeoutException as error:
            raise DependencyError(
                f"{self.url} did not answer within {TIMEOUT_SECONDS:.0f} seconds", dependency=self.url
            ) from error
        except httpx.HTTPError as error:
            raise DependencyError(
                f"nothing answers at {self.url}; start it with: lectern up -f DIR, or name another with --url",
                dependency=self.url,
            ) from error
        try:
            body = response.json()
        except ValueError as error:
            raise DependencyError(
                f"{self.url} is not a Lectern: {path} did not return JSON; check --url", dependency=self.url
            ) from error
        if response.is_error:
            body = body if isinstance(body, dict) else {}
            detail = body.get("detail") or body.get("title") or f"status {response.status_code}"
            raise RequestRefused(
                f"{self.url} refused the request: {detail}", status=response.status_code, code=str(body.get("code", ""))
            )
        if not isinstance(body, dict):
            raise DependencyError(
                f"{self.url} is not a Lectern: {path} did not return an object; check --url", dependency=self.url
            )
        return body
