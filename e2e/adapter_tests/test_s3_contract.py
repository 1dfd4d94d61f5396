"""A bucket of a real S3 server keeps what every connector promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.adapter_tests import s3_world
from e2e.adapter_tests.s3_world import Bucket
from e2e.testbed.s3 import S3, Keys, s3
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest.connector import Connector, Means
from lectern_runtime.ingest.connectors import s3 as connectors
from lectern_runtime_tests.contracts.connector_contract import (
    MAX_BYTES,
    NO_EXEMPTION,
    ODD_NAMES,
    ConnectorContract,
)
from lectern_runtime_tests.pipeline import connector_settings

pytestmark = pytest.mark.integration


@dataclass
class InBucket:
    """The `SourceUnderTest` of objects below a prefix, beside others that are none of its business."""

    bucket: Bucket

    etags = True
    deltas = False
    can_be_empty = True
    odd_names = (*ODD_NAMES, "two\nlines.md", "tab\there.md")
    exempt = NO_EXEMPTION

    async def put(self, path: str, data: bytes) -> None:
        await self.bucket.put(f"docs/{path}", data)

    async def remove(self, path: str) -> None:
        await self.bucket.delete(f"docs/{path}")

    async def break_down(self) -> None:
        self.bucket.use(Keys("nobody", "wrong"))

    def requests(self) -> int:
        return self.bucket.server.requests()

    def settings(self) -> ConnectorSettings:
        return connector_settings(Path("/unused"), source=self.bucket.source("docs/"), max_document_bytes=MAX_BYTES)

    def open(self, means: Means) -> Connector:
        return connectors.open_connector(self.settings(), means)

    def clock(self) -> float:
        return time.time()


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3() as running:
        yield running


class TestS3(ConnectorContract):
    @pytest.fixture
    async def source(self, server: S3, tmp_path: Path) -> InBucket:
        bucket = await s3_world.bucket(server, tmp_path)
        await bucket.put("docs-old/other.md", b"beside it")
        return InBucket(bucket)
