"""A Google Drive source for tests: the double of `drive_server`, and connectors on it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import GoogleDriveSource
from lectern_runtime.ingest.connector import Means
from lectern_runtime.ingest.connectors.google_drive import GoogleDrive
from lectern_runtime.ingest.retries import Retries
from lectern_runtime_tests.contracts.connector_contract import MAX_BYTES, ODD_NAMES
from lectern_runtime_tests.ingest.drive_server import ROOT, DriveServer
from lectern_runtime_tests.pipeline import connector_settings


@dataclass
class DriveWorld:
    """The `SourceUnderTest` of Google Drive; `slept` is how long connectors would have waited."""

    server: DriveServer
    key_file: Path
    folders: dict[str, str] = field(default_factory=lambda: {"": ROOT})
    files: dict[str, str] = field(default_factory=dict)
    slept: list[float] = field(default_factory=list)

    etags = True
    deltas = True
    can_be_empty = True
    odd_names = ODD_NAMES

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
        source = GoogleDriveSource(
            api_url=self.server.url("/drive/v3"), folder_id=ROOT, credentials_file=str(self.key_file)
        )
        return connector_settings(
            Path("/unused"), source=source.model_copy(update=changes), max_document_bytes=MAX_BYTES
        )

    def open(self, means: Means, **changes: Any) -> GoogleDrive:
        return GoogleDrive(self.settings(**changes), means, retries=Retries(sleep=self._sleep))

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def clock(self) -> float:
        return time.time()
