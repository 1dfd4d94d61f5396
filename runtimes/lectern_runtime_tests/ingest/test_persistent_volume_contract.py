"""A directory keeps what every connector promises."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest.connector import Connector, Means
from lectern_runtime.ingest.connectors import persistent_volume
from lectern_runtime_tests.contracts.connector_contract import (
    MAX_BYTES,
    NO_EXEMPTION,
    ODD_NAMES,
    ConnectorContract,
    later,
)
from lectern_runtime_tests.pipeline import connector_settings


class Directory:
    """The `SourceUnderTest` of files; asking a disk is no request."""

    etags = True
    deltas = False
    can_be_empty = True
    odd_names = ODD_NAMES
    exempt = NO_EXEMPTION

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, path: str, data: bytes) -> None:
        def write() -> None:
            (self._root / path).parent.mkdir(parents=True, exist_ok=True)
            (self._root / path).write_bytes(data)

        await asyncio.to_thread(write)

    async def remove(self, path: str) -> None:
        await asyncio.to_thread((self._root / path).unlink)

    async def break_down(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._root)

    def requests(self) -> int:
        return 0

    def settings(self) -> ConnectorSettings:
        return connector_settings(self._root, max_document_bytes=MAX_BYTES)

    def open(self, means: Means) -> Connector:
        return persistent_volume.open_connector(self.settings(), means)

    def clock(self) -> float:
        return later()


class TestPersistentVolume(ConnectorContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Directory:
        root = tmp_path / "source"
        root.mkdir()
        return Directory(root)
