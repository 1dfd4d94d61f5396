"""What was read becomes tasks, and tasks become batches."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from lectern_contract import ids, messages
from lectern_contract.messages import Deleted, Envelope, Put
from lectern_runtime.embed.ledger import Ledger
from lectern_runtime.embed.parked import Parked
from lectern_runtime.embed.prepare import Again, Task
from lectern_runtime.embed.reading import BATCH_BYTES, BATCH_DOCUMENTS, Reading, batches
from lectern_runtime.ports import Position, Record
from lectern_runtime.telemetry.ingest_metrics import WorkerMetrics
from lectern_runtime_tests.pipeline import reference

EPOCH = 2


def put(uri: str, size: int = 1) -> Put:
    return Put(document=reference(uri), sha256="0" * 64, size=size, media_type="text/plain")


def record(offset: int, body: Put | Deleted) -> Record:
    envelope = Envelope(id=str(offset), source="test", time="2026-11-21T00:00:00Z", data=body)
    return Record(Position(0, offset), envelope.key, messages.encode(envelope), 5)


def task(offset: int, body: Put | Deleted, *, replaced: tuple[int, ...] = ()) -> Task:
    older = tuple(Position(0, each) for each in replaced)
    return Task(body, Position(0, offset), ids.version(EPOCH, offset), 5, replaced=older)


def reading() -> Reading:
    return Reading("ns", "kb", EPOCH, WorkerMetrics(CollectorRegistry()))


def nobody() -> Parked:
    return Parked(3, lambda _attempt, _asked: 1.0, lambda: 0.0)


def test_the_newest_message_about_each_document_is_a_task_that_settles_the_older_ones() -> None:
    records = [record(0, put("a.md", 1)), record(1, put("b.md")), record(4, Deleted(document=reference("a.md")))]
    found = reading().tasks(records, [], Ledger(9), nobody())
    assert found == [task(4, Deleted(document=reference("a.md")), replaced=(0,)), task(1, put("b.md"))]


def test_a_message_about_a_parked_document_takes_its_place() -> None:
    parked = nobody()
    parked.park(task(2, put("a.md", 1)), Again("embed", "busy"))
    parked.park(task(3, put("b.md", 1)), Again("embed", "busy"))
    found = reading().tasks([record(7, put("a.md", 2))], [], Ledger(9), parked)
    assert (found, len(parked)) == ([task(7, put("a.md", 2), replaced=(2,))], 1)


def test_a_message_about_a_document_that_is_due_takes_its_place() -> None:
    due = replace(task(2, put("a.md", 1)), attempts=2)
    found = reading().tasks([record(7, put("a.md", 2))], [due], Ledger(9), nobody())
    assert found == [task(7, put("a.md", 2), replaced=(2,))]


def test_what_is_no_message_of_ours_is_settled_at_once() -> None:
    foreign = reference("a.md").model_copy(update={"knowledge_base": "other"})
    ledger = Ledger(9)
    records = [Record(Position(0, 0), "x", b"no message", 5), record(1, Deleted(document=foreign))]
    assert reading().tasks(records, [], ledger, nobody()) == []
    assert (ledger.to_commit(), ledger.open_messages()) == ({0: 2}, 0)


@given(st.lists(st.none() | st.integers(0, 2 * BATCH_BYTES), max_size=100))
def test_batches_keep_order_and_stay_small(sizes: list[int | None]) -> None:
    tasks = [
        task(number, Deleted(document=reference(str(number))) if size is None else put(str(number), size))
        for number, size in enumerate(sizes)
    ]
    found = list(batches(tasks))
    assert [each for batch in found for each in batch] == tasks
    for batch in found:
        total = sum(each.message.size for each in batch if isinstance(each.message, Put))
        assert len(batch) == 1 or (len(batch) <= BATCH_DOCUMENTS and total <= BATCH_BYTES)
