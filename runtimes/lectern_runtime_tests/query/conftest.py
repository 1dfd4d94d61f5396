"""Fixtures of the query runtime's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lectern_runtime_tests.query.world import World, opened
from lectern_runtime_tests.quick_disk import quick_directory

RETURNS = (
    "Customers may return goods within thirty days of delivery. "
    "A refund is paid to the original card within five working days."
)
SHIPPING = "Parcels leave the warehouse every weekday at noon. Express parcels arrive the next morning."


@pytest.fixture
async def empty_world() -> AsyncIterator[World]:
    """Adapters without an index."""
    with quick_directory() as path:
        async with opened(path) as world:
            yield world


@pytest.fixture
async def world(empty_world: World) -> World:
    """Two public documents of one tenant behind the alias of `guides`."""
    await empty_world.index()
    await empty_world.put("returns.md", RETURNS, metadata={"product": "shop", "year": 2024})
    await empty_world.put("shipping.md", SHIPPING, metadata={"product": "depot", "year": 2025})
    return empty_world
