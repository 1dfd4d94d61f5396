"""What every connector to servers of the web is: it opens what it asks when it first asks, and closes all it opened.

Base of the http, wikipedia, googleDrive and sharePoint connectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import httpx

from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest.connector import Means
from lectern_runtime.ingest.retries import Retries
from lectern_runtime.ingest.web import guarded
from lectern_runtime.ingest.web.guarded import Resolve

Api = TypeVar("Api")


@dataclass(frozen=True, slots=True)
class Asking:
    """How servers are found and how often they are asked again; replaced in tests only."""

    resolve: Resolve = guarded.resolve
    retries: Retries = field(default_factory=Retries)


class ApiSource(ABC, Generic[Api]):
    """One source."""

    def __init__(self, settings: ConnectorSettings, means: Means, asking: Asking | None = None) -> None:
        self._settings = settings
        self._max_bytes = settings.max_document_bytes
        self._means, self._asking = means, asking or Asking()
        self._api: Api | None = None
        self._clients: list[httpx.AsyncClient] = []

    @abstractmethod
    def _open(self) -> Api:
        """What is asked; each of its clients is one that `_keep` was given. Raises `SourceUnavailable`."""

    def _opened(self) -> Api:
        if self._api is None:
            self._api = self._open()
        return self._api

    def _keep(self, client: httpx.AsyncClient) -> httpx.AsyncClient:
        """The client, which is closed with the source."""
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close all connections."""
        self._api = None
        while self._clients:
            await self._clients.pop().aclose()
