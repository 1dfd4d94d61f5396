"""The world as a fixture, and a disk that does not wait."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lectern_runtime_tests.ingest.receiver.world import World, opened
from lectern_runtime_tests.quick_disk import quick_directory


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A log, a blob store and an empty directory of API keys."""
    with quick_directory() as path:
        async with opened(path) as found:
            yield found
