"""One world for all trials of the sample: a real Kafka, the Qdrant double, the stub embedder and the proxies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.ingest_faults.world import World, world


@pytest.fixture(scope="session")
def started() -> Iterator[World]:
    """Start the world for the session."""
    with world() as found:
        yield found
