"""One arena for all tests of faults, and two proxies before its API server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.faults.arena import Arena
from e2e.faults.arena import arena as start_arena
from e2e.faults.matrix import benches
from e2e.faults.proxy import FaultProxy, fault_proxy
from e2e.faults.trials import Bench


@pytest.fixture(scope="package")
def arena() -> Iterator[Arena]:
    """Start a control plane with doubles of node and KEDA, and a mirror."""
    with start_arena() as started:
        yield started


@pytest.fixture(scope="package")
def side_by_side(arena: Arena) -> Iterator[list[Bench]]:
    """Return benches that work in parallel."""
    with benches(arena) as found:
        yield found


@pytest.fixture
def proxy(arena: Arena) -> Iterator[FaultProxy]:
    """Return a proxy of the test's own."""
    with fault_proxy(arena.plane.rest) as found:
        yield found
