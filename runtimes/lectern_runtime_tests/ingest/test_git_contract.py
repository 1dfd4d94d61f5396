"""A git repository keeps what every connector promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lectern_runtime.ingest.connector import Connector
from lectern_runtime_tests.contracts.connector_contract import (
    DOCUMENTS,
    MAX_BYTES,
    ConnectorContract,
    SourceUnderTest,
    fill,
    seen,
)
from lectern_runtime_tests.ingest.git_world import GitWorld, git_world


class TestGit(ConnectorContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[GitWorld]:
        with git_world(tmp_path, passwords=True) as world:
            assert world.max_bytes == MAX_BYTES
            yield world

    async def test_a_document_that_vanished_fails_alone(self, source: SourceUnderTest, connector: Connector) -> None:
        """A commit is a whole that nobody can change: what it had is read as it was, until the next listing."""
        await fill(source)
        found = (await seen(connector)).listed
        await source.remove("a.md")
        assert (await connector.fetch(found["a.md"])).data == DOCUMENTS["a.md"]
        assert "a.md" not in (await seen(connector)).listed
