"""Fixtures that the tests of the adapters share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lectern_runtime_tests.quick_disk import quick_directory


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """An empty directory in memory."""
    with quick_directory() as path:
        yield path
