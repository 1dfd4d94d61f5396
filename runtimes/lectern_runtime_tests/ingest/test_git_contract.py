"""A git repository keeps what every connector promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lectern_runtime.ingest.connector import Connector
from lectern_runtime_tests.contracts.connector_contract import (
    MAX_BYTES,
    ConnectorContract,
    SourceUnderTest,
    kept_until_the_next_listing,
)
from lectern_runtime_tests.ingest.git_world import GitWorld, git_world


class TestGit(ConnectorContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[GitWorld]:
        with git_world(tmp_path, passwords=True) as world:
            assert world.max_bytes == MAX_BYTES
            yield world

    async def test_a_document_that_vanished_is_read_as_it_was_until_the_next_listing(
        self, source: SourceUnderTest, connector: Connector
    ) -> None:
        await kept_until_the_next_listing(source, connector)
