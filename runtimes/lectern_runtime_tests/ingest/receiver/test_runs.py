"""A run tells what the index made of each document, and forgets within its bounds."""

from __future__ import annotations

import asyncio
import time

import pytest

from lectern_contract.ids import DocumentId
from lectern_contract.messages import Change, DocumentEvent, DocumentRef
from lectern_contract.scope import Partition
from lectern_runtime.ingest.receiver import idempotency, runs
from lectern_runtime.ingest.receiver.idempotency import Answers, Request
from lectern_runtime.ingest.receiver.runs import Run, RunDocument, Runs
from lectern_runtime_tests.ingest.receiver.world import World, document


async def test_a_run_goes_from_queued_to_done_with_the_state_of_each_document(world: World) -> None:
    key = world.key()
    async with world.serving(exclude=("*.tmp",)) as serving:
        await serving.put(document("same.md"), key=key)
        sent = [document("a.md"), document("b.md"), document("same.md"), document("c.tmp")]
        run_id = (await serving.put(*sent, key=key)).json()["run_id"]
        before = await serving.run(run_id, key)
        await world.work(fail=["b.md"])
        after = await serving.run_ends(run_id, key)
    counts = ("state", "accepted", "unchanged", "rejected", "waiting", "failed")
    assert [before[each] for each in counts] == ["queued", 2, 1, 1, 2, 0]
    assert [after[each] for each in counts] == ["failed", 2, 1, 1, 0, 1]
    assert [(each["uri"], each["state"], each["reason"], each["detail"]) for each in after["documents"]] == [
        ("a.md", "done", None, None),
        ("b.md", "failed", "Encrypted", "it asks for a password"),
        ("same.md", "done", None, None),
        ("c.tmp", "failed", "not_included", "spec.include and spec.exclude of the source leave it out"),
    ]


async def test_a_deletion_is_a_run_too(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        await serving.put(document(), key=key)
        run_id = (await serving.delete("a.md", key=key)).json()["run_id"]
        await world.work()
        assert (await serving.run_ends(run_id, key))["state"] == "done"


async def test_content_that_a_worker_gave_up_can_be_pushed_again(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        run_id = (await serving.put(document(), key=key)).json()["run_id"]
        await world.work(fail=["a.md"])
        await serving.run_ends(run_id, key)
        async with asyncio.timeout(10):
            while (await serving.put(document(), key=key)).json()["accepted"] == 0:
                await asyncio.sleep(0.01)
    assert len(world.said()) == 2


def ref(uri: str) -> DocumentRef:
    return DocumentRef(namespace="n", knowledge_base="k", tenant="t", access_level="p", source="s", uri=uri)


def event(uri: str, offset: int, change: Change = Change.INDEXED) -> DocumentEvent:
    return DocumentEvent(document=ref(uri), change=change, version=(3 << 44) + offset)


def run(name: str, *offsets: int, at: float | None = None) -> Run:
    documents = [RunDocument("a", "accepted", DocumentId(ref("a").id), offset) for offset in offsets]
    return Run(name, time.time() if at is None else at, "t", frozenset({Partition("t", "p")}), documents)


def test_a_later_message_stands_for_the_earlier_ones_and_not_the_other_way_round() -> None:
    found = Runs()
    found.add(run("first", 4))
    found.add(run("second", 9))
    found.event(event("a", 3))
    assert [each.state for each in map(found.get, ("first", "second")) if each] == ["queued", "queued"]
    found.event(event("a", 4))
    assert [each.state for each in map(found.get, ("first", "second")) if each] == ["done", "queued"]
    found.event(event("a", 12))
    assert [each.state for each in map(found.get, ("first", "second")) if each] == ["done", "done"]


def test_an_event_that_comes_before_the_answer_is_not_missed() -> None:
    found = Runs()
    found.event(event("a", 5))
    found.event(event("a", 2))
    found.add(run("late", 5))
    assert (late := found.get("late")) is not None
    assert late.state == "done"


def test_runs_are_forgotten_by_number_size_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MOST_RUNS", 3)
    monkeypatch.setattr(runs, "MOST_BYTES", 5 * 402)
    now = [1_000_000.0]
    found = Runs(clock=lambda: now[0])
    for number in range(5):
        found.add(run(f"r{number}", number, at=now[0]))
    assert [found.get(f"r{number}") is not None for number in range(5)] == [False, False, True, True, True]
    found.add(run("large", 1, 2, 3, 4, at=now[0]))
    assert [found.get(name) is not None for name in ("r3", "r4", "large")] == [False, True, True]
    now[0] += runs.KEPT_SECONDS + 1
    assert (found.get("large"), found._runs, found._waiting, found._bytes) == (None, {}, {}, 0)


def test_answers_are_forgotten_by_number_bytes_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MOST_ANSWERS", 3)
    monkeypatch.setattr(idempotency, "MOST_BYTES", 100)
    now = [0.0]
    answers = Answers(clock=lambda: now[0])
    asked = [Request("who", "put", f"k{number}", b"d") for number in range(5)]
    for each in asked[:4]:
        answers.keep(each, 202, b"x" * 10)
    assert [answers.given(each) is not None for each in asked] == [False, True, True, True, False]
    answers.keep(asked[4], 202, b"x" * 85)
    assert [answers.given(each) is not None for each in asked] == [False, False, False, True, True]
    now[0] = idempotency.KEPT_SECONDS + 1
    assert (answers.given(asked[4]), answers._kept, answers._bytes) == (None, {}, 0)
