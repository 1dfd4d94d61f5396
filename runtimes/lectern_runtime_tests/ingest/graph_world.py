"""A SharePoint source for tests: the double of `graph_server`, and connectors on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import SharePointSource
from lectern_runtime.ingest.connector import Means
from lectern_runtime.ingest.connectors.share_point import SharePoint
from lectern_runtime.ingest.retries import Retries
from lectern_runtime.ingest.web import addresses
from lectern_runtime_tests.contracts.connector_contract import MAX_BYTES, ODD_NAMES
from lectern_runtime_tests.ingest.graph_server import CLIENT, ROOT, SECRET, TENANT, GraphServer
from lectern_runtime_tests.pipeline import connector_settings

SITE = "https://contoso.test/sites/docs"


@dataclass
class GraphWorld:
    """The `SourceUnderTest` of SharePoint; `slept` is how long connectors would have waited."""

    server: GraphServer
    secret: Path
    folders: dict[str, str] = field(default_factory=lambda: {"": ROOT})
    files: dict[str, str] = field(default_factory=dict)
    slept: list[float] = field(default_factory=list)

    etags = True
    deltas = True
    can_be_empty = True
    odd_names = ODD_NAMES

    def write_secret(self, **changes: str) -> None:
        """Write the Secret's files."""
        self.secret.mkdir(exist_ok=True)
        for name, text in {"tenantId": TENANT, "clientId": CLIENT, "clientSecret": SECRET, **changes}.items():
            (self.secret / name).write_text(text + "\n")

    async def put(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        if path in self.files:
            self.server.edit(self.files[path], data)
        else:
            self.files[path] = self.server.file(name, data, self._folder(folder))

    def _folder(self, path: str) -> str:
        if path not in self.folders:
            parent, _, name = path.rpartition("/")
            self.folders[path] = self.server.folder(name, self._folder(parent))
        return self.folders[path]

    async def remove(self, path: str) -> None:
        self.server.remove(self.files.pop(path))

    async def break_down(self) -> None:
        self.server.broken = True

    def requests(self) -> int:
        return len(self.server.asked)

    def settings(self, **changes: Any) -> ConnectorSettings:
        source = SharePointSource(
            graph_url=self.server.url("/v1.0"),
            login_url=self.server.url(),
            site_url=SITE,
            library="Docs",
            tenant_id_file=str(self.secret / "tenantId"),
            client_id_file=str(self.secret / "clientId"),
            client_secret_file=str(self.secret / "clientSecret"),
        )
        return connector_settings(
            Path("/unused"), source=source.model_copy(update=changes), max_document_bytes=MAX_BYTES
        )

    def open(self, means: Means, *, networks: Sequence[str] = ("127.0.0.1/32",), **changes: Any) -> SharePoint:
        retries, private = Retries(sleep=self._sleep), addresses.networks(networks)
        return SharePoint(self.settings(**changes), means, retries=retries, private=private)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def clock(self) -> float:
        return time.time()
