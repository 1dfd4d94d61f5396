"""A Google Drive source for tests: the double of `drive_server`, and connectors on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import GoogleDriveSource
from lectern_runtime.ingest.connector import Means
from lectern_runtime.ingest.connectors.google_drive import GoogleDrive
from lectern_runtime_tests.contracts.connector_contract import MAX_BYTES
from lectern_runtime_tests.ingest.cloud_world import CloudWorld
from lectern_runtime_tests.ingest.drive_server import ROOT, DriveServer
from lectern_runtime_tests.pipeline import connector_settings


@dataclass(kw_only=True)
class DriveWorld(CloudWorld[DriveServer]):
    """The `SourceUnderTest` of Google Drive."""

    key_file: Path
    folders: dict[str, str] = field(default_factory=lambda: {"": ROOT})

    def settings(self, **changes: Any) -> ConnectorSettings:
        source = GoogleDriveSource(
            api_url=self.server.url("/drive/v3"), folder_id=ROOT, credentials_file=str(self.key_file)
        )
        return connector_settings(
            Path("/unused"), source=source.model_copy(update=changes), max_document_bytes=MAX_BYTES
        )

    def open(self, means: Means, **changes: Any) -> GoogleDrive:
        return GoogleDrive(self.settings(**changes), means, self.asking())
