"""What came late of a writer that died is looked for where it may be, when it must be there, and taken back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lectern_contract.messages import Deleted, Put
from lectern_contract.payload import DocumentState
from lectern_contract.scope import Scope
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.embed import flow, late
from lectern_runtime.embed.late import LOOKS_SECONDS, Late
from lectern_runtime.embed.prepare import Task
from lectern_runtime.errors import StoreError
from lectern_runtime.ports import Consumer, DocumentWrite, Position, WriteResult
from lectern_runtime_tests.contracts.vector_version_contract import Died, DiesBeforeItReads
from lectern_runtime_tests.embed.worker_world import LONG, Wrapped
from lectern_runtime_tests.pipeline import COLLECTION, Pipeline, pipeline, reference

WINDOW = 4
FIRST, SECOND = LOOKS_SECONDS
EPOCH = 7 << 44


def task(uri: str, offset: int, *, partition: int = 0, replaced: Sequence[int] = ()) -> Task:
    put = Put(document=reference(uri), sha256="0" * 64, size=1, media_type="text/plain")
    older = tuple(Position(partition, each) for each in replaced)
    return Task(put, Position(partition, offset), EPOCH | offset, replaced=older)


@dataclass
class Watch:
    """Documents to look at again, with a clock of the test's own."""

    seconds: float = 0.0
    late: Late = field(init=False)

    def __post_init__(self) -> None:
        self.late = Late(WINDOW, lambda: self.seconds)

    def due(self, seconds: float) -> dict[str, int]:
        """Documents that are due at `seconds`, with the offsets of the versions that may come late."""
        self.seconds = seconds
        names = {reference(uri).id: uri for uri in ("a", "b", "c", "d", "e", "f")}
        return {
            names[document]: version ^ EPOCH
            for versions in self.late.due().values()
            for document, version in versions.items()
        }


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_nothing_is_watched_while_nothing_was_taken_over(watch: Watch) -> None:
    watch.late.read([task("a", 1)])
    assert (len(watch.late), watch.due(SECOND)) == (0, {})


def test_the_first_messages_of_a_partition_that_was_taken_over_are_watched_and_looked_at_twice(watch: Watch) -> None:
    watch.late.taken_over([0])
    watch.late.read([task("a", 1), task("b", 1, partition=1), task("c", 2)])
    watch.late.read([task("d", 3, partition=0), task("e", 4), task("f", 5)])
    assert watch.due(FIRST - 0.1) == {}
    assert watch.due(FIRST) == {"a": 1, "c": 2, "d": 3, "e": 4}
    assert watch.due(SECOND - 0.1) == {}
    assert watch.due(SECOND) == {"a": 1, "c": 2, "d": 3, "e": 4}
    assert (len(watch.late), watch.due(9 * SECOND)) == (0, {})


def test_a_message_that_replaced_older_ones_may_be_overtaken_by_the_oldest_of_them(watch: Watch) -> None:
    watch.late.taken_over([0])
    watch.late.read([task("a", 9, replaced=(5, 7)), task("b", 10), task("c", 11)])
    assert watch.due(FIRST) == {"a": 5, "b": 10}


def test_a_partition_that_is_taken_over_again_is_watched_anew(watch: Watch) -> None:
    for _ in range(2):
        watch.late.taken_over([0])
        watch.late.read([task("a", 1), task("b", 2), task("c", 3)])
    assert len(watch.late) == 6
    assert watch.due(FIRST) == {"a": 1, "b": 2, "c": 3}


def test_beyond_the_bound_those_that_wait_longest_are_looked_at_early(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "MOST_WATCHED", 2)
    scope = Scope.of_writer(reference("a").partition)
    for number, uri in enumerate("abcde"):
        watch.late.watch(scope, reference(uri).id, EPOCH | number)
    assert watch.due(0.0) == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}, "each waits on for its second look, and is over"
    assert watch.late.due() == {}
    assert len(watch.late) == 2


class HeldBack:
    """A store whose first write is held back on its way: whoever sent it hears an error."""

    def __init__(self, store: EdgeStore) -> None:
        self.store = store
        self.held: tuple[str, Scope, Sequence[DocumentWrite]] | None = None

    async def write_documents(
        self, collection: str, scope: Scope, writes: Sequence[DocumentWrite]
    ) -> Sequence[WriteResult]:
        if self.held is None:
            self.held = (collection, scope, writes)
            raise StoreError("no answer within 60 s")
        return await self.store.write_documents(collection, scope, writes)

    async def arrives(self, died: DiesBeforeItReads) -> None:
        """The write reaches the store now, and whoever sent it is no more, or has given up on it."""
        assert self.held is not None
        died.armed = True
        with pytest.raises(Died):
            await self.store.write_documents(*self.held)
        died.armed = False


async def chunks(store: EdgeStore) -> int:
    info = await store.describe(COLLECTION)
    assert info is not None
    return info.chunks


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("fate", ["the writer was killed", "the answer was lost"])
async def test_a_write_that_comes_after_the_deletion_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    monkeypatch.setattr(late, "LOOKS_SECONDS", (0.5, 1.0))
    monkeypatch.setattr(flow, "LOOK_AGAIN_SECONDS", 0.05)
    killed, died = fate == "the writer was killed", DiesBeforeItReads()
    async with pipeline(tmp_path) as pipe:
        store = pipe.store = await EdgeStore.open(tmp_path / "watched", failpoint=died)
        try:
            held = HeldBack(store)
            await pipe.worker().ensure()
            message = await pipe.put("a.md", LONG)
            await pipe.publish(message)
            if killed:  # its write is on the way, and nobody else has sent one
                held.held = await sent(pipe, message)
            consumer = await pipe.log.subscribe(pipe.worker().topic, group=pipe.worker().group)
            taken = Wrapped(consumer, taken_over=lambda: frozenset(range(8)) if killed else frozenset())

            async def subscribe(topic: str, *, group: str) -> Consumer:
                return taken

            stop = asyncio.Event()
            worker = pipe.worker(
                log=Wrapped(pipe.log, subscribe=subscribe),
                store=Wrapped(store, write_documents=held.write_documents),
                sleep=asyncio.sleep,
                monotonic=time.monotonic,
            )
            running = asyncio.create_task(worker.run(stop))
            await until(lambda: has_state(pipe, DocumentState.INDEXED))
            await pipe.publish(Deleted(document=message.document))
            await until(lambda: has_state(pipe, DocumentState.DELETED))
            assert await chunks(store) == 0
            await held.arrives(died)
            assert await chunks(store) > 0, "the late write left nothing, and this test shows nothing"
            await until(lambda: nothing_left(store))
            stop.set()
            await running
        finally:
            await store.close()


async def sent(pipe: Pipeline, message: Put) -> tuple[str, Scope, Sequence[DocumentWrite]]:
    """What a worker sends for a message that is the first of its partition."""
    found: list[tuple[str, Scope, Sequence[DocumentWrite]]] = []
    stop = asyncio.Event()

    async def write_documents(collection: str, scope: Scope, writes: Sequence[DocumentWrite]) -> Sequence[WriteResult]:
        found.append((collection, scope, writes))
        stop.set()
        await asyncio.Event().wait()
        raise AssertionError("it was cancelled")

    worker = pipe.worker(store=Wrapped(pipe.store, write_documents=write_documents))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flow, "DRAIN_SECONDS", 0.1)
        await worker.run(stop)
    return found[0]


async def has_state(pipe: Pipeline, state: DocumentState) -> bool:
    return [each.state for each in (await pipe.records()).values()] == [state]


async def nothing_left(store: EdgeStore) -> bool:
    return await chunks(store) == 0
