"""Who may write: one holder at a time, by its own clock, and nobody whose renewal is old."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from lectern_contract.errors import DependencyError
from lectern_operator.clients.errors import NotFound, Outdated
from lectern_operator.handlers import lease as leases
from lectern_operator.handlers.lease import DURATION_SECONDS, FENCE_SECONDS, Lease, LeaseLost


class Server:
    """One Lease with optimistic concurrency; `down` makes every request fail."""

    def __init__(self) -> None:
        self.body: dict[str, Any] | None = None
        self.version = 0
        self.down = False

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Return the Lease."""
        self._answer()
        if self.body is None:
            raise NotFound("no lease")
        return copy.deepcopy(self.body)

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Make the Lease."""
        self._answer()
        if self.body is not None:
            raise Outdated("exists")
        return self._store(manifest)

    async def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Replace the Lease in the version that was read."""
        self._answer()
        if self.body is None or manifest["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            raise Outdated("changed")
        return self._store(manifest)

    def _answer(self) -> None:
        if self.down:
            raise DependencyError("away", dependency="kubernetes")

    def _store(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.body = copy.deepcopy(manifest)
        self.body["metadata"]["resourceVersion"] = str(self.version)
        return self.body

    def holder(self) -> str:
        """Return who holds the Lease."""
        assert self.body is not None
        return str(self.body["spec"]["holderIdentity"])


class Clock:
    """A monotonic clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class World:
    """A server, a clock, and processes that look at the Lease when the test says so."""

    def __init__(self) -> None:
        self.server, self.clock = Server(), Clock()

    def process(self, identity: str) -> Lease:
        """Return the Lease as a process sees it."""
        return Lease(self.server, "lectern", identity, self.clock)

    async def look(self, lease: Lease, *, after: float = 0.0) -> None:
        """Let a process do one round of its loop."""
        self.clock.now += after
        task = asyncio.create_task(lease.run())
        await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        if task.done():
            await task
        task.cancel()


@pytest.fixture
def world() -> World:
    """Return an empty world."""
    return World()


async def test_the_first_one_takes_it_and_may_write(world: World) -> None:
    one = world.process("one")
    with pytest.raises(LeaseLost):
        one.fence()
    await world.look(one)
    assert (world.server.holder(), one.acquired.is_set()) == ("one", True)
    one.fence()


async def test_another_one_waits_as_long_as_it_is_renewed(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    await world.look(one)
    for _ in range(10):
        await world.look(two, after=2.0)
        await world.look(one)
    assert (world.server.holder(), two.held, two.acquired.is_set()) == ("one", False, False)


async def test_another_one_takes_it_when_it_has_not_changed_for_its_duration(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    await world.look(one)
    await world.look(two)
    await world.look(two, after=DURATION_SECONDS - 1)
    assert world.server.holder() == "one"
    await world.look(two, after=2.0)
    assert (world.server.holder(), two.held) == ("two", True)
    assert world.server.body is not None
    assert world.server.body["spec"]["leaseTransitions"] == 1


async def test_a_process_that_was_stopped_writes_nothing_when_it_wakes_up(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    await world.look(one)
    await world.look(two)
    await world.look(two, after=DURATION_SECONDS + 1)
    with pytest.raises(LeaseLost):
        one.fence()
    with pytest.raises(LeaseLost, match="held by two"):
        await world.look(one)


async def test_the_fence_falls_before_another_one_may_begin(world: World) -> None:
    one = world.process("one")
    await world.look(one)
    world.clock.now += FENCE_SECONDS
    with pytest.raises(LeaseLost):
        one.fence()
    assert FENCE_SECONDS + leases.RENEW_SECONDS < DURATION_SECONDS


async def test_an_api_server_that_is_away_ends_the_holder_and_not_the_one_that_waits(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    await world.look(one)
    await world.look(two)
    world.server.down = True
    await world.look(one, after=3.0)
    with pytest.raises(LeaseLost):
        await world.look(one, after=FENCE_SECONDS)
    await world.look(two, after=100.0)
    assert not two.held


async def test_a_clean_stop_gives_it_to_the_next_at_once(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    await world.look(one)
    await one.release()
    assert world.server.holder() == ""
    await world.look(two)
    assert (world.server.holder(), one.held) == ("two", False)


async def test_only_the_holder_gives_it_back(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    await world.look(one)
    await two.release()
    assert world.server.holder() == "one"


async def test_of_two_that_find_it_free_one_wins(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    await asyncio.gather(world.look(one), world.look(two))
    assert [one.held, two.held].count(True) == 1
