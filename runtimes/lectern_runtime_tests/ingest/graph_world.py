"""A SharePoint source for tests: the double of `graph_server`, and connectors on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import SharePointSource
from lectern_runtime.ingest.connector import Means
from lectern_runtime.ingest.connectors.share_point import SharePoint
from lectern_runtime.ingest.web import addresses
from lectern_runtime_tests.contracts.connector_contract import MAX_BYTES
from lectern_runtime_tests.ingest.cloud_world import CloudWorld
from lectern_runtime_tests.ingest.graph_server import CLIENT, ROOT, SECRET, TENANT, GraphServer
from lectern_runtime_tests.pipeline import connector_settings

SITE = "https://contoso.test/sites/docs"


@dataclass(kw_only=True)
class GraphWorld(CloudWorld[GraphServer]):
    """The `SourceUnderTest` of SharePoint."""

    secret: Path
    folders: dict[str, str] = field(default_factory=lambda: {"": ROOT})

    def write_secret(self, **changes: str) -> None:
        """Write the Secret's files."""
        self.secret.mkdir(exist_ok=True)
        for name, text in {"tenantId": TENANT, "clientId": CLIENT, "clientSecret": SECRET, **changes}.items():
            (self.secret / name).write_text(text + "\n")

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
        private = addresses.networks(networks)
        return SharePoint(self.settings(**changes), means, self.asking(), private=private)
