"""Fixtures of the worker's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lectern_runtime_tests.pipeline import Pipeline, pipeline


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    """A pipeline whose topics and collection are made."""
    async with pipeline(tmp_path) as found:
        await found.worker().ensure()
        yield found
