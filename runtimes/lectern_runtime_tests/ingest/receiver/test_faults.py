"""When the world fails, nothing is half done: what the log did not acknowledge is not held, and never `unchanged`."""

from __future__ import annotations

import asyncio

import pytest

from lectern_contract.errors import DependencyError
from lectern_contract.messages import Deleted, Put
from lectern_contract.names import Topic
from lectern_runtime.adapters.push_catalogue import PushCatalogue
from lectern_runtime.ingest.receiver import audit, reception
from lectern_runtime.ingest.receiver.catalogue import CatalogueFailed
from lectern_runtime.ports import OutgoingRecord
from lectern_runtime_tests.ingest.receiver.world import World, document, topic, until_ready

SECRET = {"tenant": "acme", "access_level": "secret"}


async def test_a_log_that_is_away_takes_nothing(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        world.log.before = ".documents"
        answer = await serving.put(document(), key=key)
        assert (answer.status_code, answer.json()["code"]) == (503, "dependency_unavailable")
        assert answer.headers["retry-after"] == "5"
        assert "no broker" not in answer.text
        assert await serving.uris(key) == []
        world.log.before = None
        assert (await serving.put(document(), key=key)).json()["accepted"] == 1


async def test_a_blob_store_that_is_away_takes_nothing(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        world.blobs.away = True
        answer = await serving.put(document("a.md"), document("b.md"), key=key)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert (world.said(), await serving.uris(key)) == ([], [])


async def test_what_may_have_been_written_is_not_held_and_is_written_again(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        world.log.after = ".documents"
        assert (await serving.put(document(), key=key)).status_code == 503
        world.log.after = None
        assert await serving.uris(key) == []
        assert (await serving.put(document(), key=key)).json()["accepted"] == 1
        assert await serving.uris(key) == ["a.md"]


async def test_an_older_content_is_said_again_after_a_newer_one_in_doubt(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        await serving.put(document(text="one"), key=key)
        world.log.after = ".documents"
        assert (await serving.put(document(text="two"), key=key)).status_code == 503
        world.log.after = None
        assert (await serving.put(document(text="one"), key=key)).json()["accepted"] == 1
    assert [each.size for each in world.said()] == [3, 3, 3]
    assert len({each.sha256 for each in world.said()}) == 2


async def test_what_may_have_been_written_can_be_deleted(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        world.log.after = ".documents"
        await serving.put(document(), key=key)
        world.log.after = None
        assert (await serving.delete("a.md", key=key)).status_code == 202
    assert [type(each) for each in world.said()] == [Put, Deleted]


async def test_a_move_that_fails_half_way_is_finished_by_the_next_request(world: World) -> None:
    key, moved = world.key(), document(partition=SECRET)
    async with world.serving() as serving:
        await serving.put(document(), key=key)
        world.log.after = ".documents"  # the deletion is written and not confirmed, and the put never comes
        assert (await serving.put(moved, key=key)).status_code == 503
        world.log.after = None
        assert await serving.uris(key) == ["a.md"]
        assert (await serving.put(moved, key=key)).json()["accepted"] == 1
        listed = (await serving.listed(key)).json()["documents"]
    assert [each["partition"]["access_level"] for each in listed] == ["secret"]
    assert [type(each) for each in world.said()] == [Put, Deleted, Deleted, Put]


async def test_a_document_in_doubt_for_new_readers_is_deleted_for_them_when_it_moves_on(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        world.log.after = ".documents"
        await serving.put(document(partition=SECRET), key=key)
        world.log.after = None
        await serving.put(document(), key=key)
    said = [(type(each), each.document.access_level) for each in world.said()]
    assert said == [(Put, "secret"), (Deleted, "secret"), (Put, "public")]


async def test_a_receiver_that_cannot_reach_the_log_says_so_and_waits(world: World) -> None:
    key = world.key()
    real, away = world.log.read_from_start, True

    async def read(name: str) -> object:
        if away:
            raise DependencyError("broker kafka:9092 refuses the connection", dependency="log")
        return await real(name)

    world.log.read_from_start = read
    async with world.serving(ready=False) as serving:
        async with asyncio.timeout(10):
            while "kafka:9092" not in serving.reception.readiness.reason:
                await asyncio.sleep(0.005)
        ready, put = await serving.http.get("/readyz"), await serving.put(document(), key=key)
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert (put.status_code, put.json()["code"]) == (503, "not_ready")
        away = False
        await until_ready(serving)
        assert (await serving.put(document(), key=key)).status_code == 202


async def test_a_topic_that_is_made_anew_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "WATCH_SECONDS", 0.01)
    key = world.key()
    async with world.serving() as serving:
        await serving.put(document(), key=key)
        before = serving.reception.taking
        real = world.log.topic_id

        async def other(name: str) -> str:
            return f"{await real(name)}-anew"

        world.log.topic_id = other
        async with asyncio.timeout(10):
            while serving.reception._taking in (before, None):
                await asyncio.sleep(0.005)
        assert await serving.uris(key) == ["a.md"]


async def test_a_catalogue_that_fails_is_read_anew_from_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key, real = world.key(), PushCatalogue.note
    failures = [CatalogueFailed("disk full")]

    def note(self: PushCatalogue, *arguments: object) -> None:
        if failures and arguments[0]:
            raise failures.pop()
        real(self, *arguments)  # type: ignore[arg-type]

    async with world.serving() as serving:
        monkeypatch.setattr(PushCatalogue, "note", note)
        before = serving.reception.taking
        assert (await serving.put(document(), key=key)).status_code == 503
        async with asyncio.timeout(10):
            while serving.reception._taking in (before, None):
                await asyncio.sleep(0.005)
        assert await serving.uris(key) == ["a.md"]  # the log had acknowledged it


async def test_messages_of_strangers_on_the_topic_are_passed_over(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        await serving.put(document(), key=key)
    for value in (b"", b"{}", b"\xff" * 100, b'{"schema_version": 99}'):
        await world.log._log.publish(topic(Topic.DOCUMENTS), [OutgoingRecord(f"k{value!r}", value)])
    async with world.serving() as serving:
        assert await serving.uris(key) == ["a.md"]


async def test_requests_about_one_document_at_once_leave_what_the_log_has_last(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        answers = await asyncio.gather(
            *(serving.put(document(text=f"text {number}"), document("b.md", text="x"), key=key) for number in range(6))
        )
        assert {each.status_code for each in answers} == {202}
        listed = (await serving.listed(key, uri="a.md")).json()["documents"]
    last = [each for each in world.said() if each.document.uri == "a.md"][-1]
    assert listed[0]["sha256"] == last.sha256
    assert sum(each.document.uri == "b.md" for each in world.said()) == 1


async def test_what_is_under_way_when_the_catalogue_is_read_anew_is_not_missed(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        before = serving.reception.taking
        world.log.gate.clear()
        going = asyncio.create_task(serving.put(document(), key=key))
        async with asyncio.timeout(10):
            while not before._at_work:
                await asyncio.sleep(0.005)
        serving.reception._stale.set()
        async with asyncio.timeout(10):
            while serving.reception._taking is not None:
                await asyncio.sleep(0.005)
        assert (await serving.put(document("b.md"), key=key)).json()["code"] == "not_ready"
        world.log.gate.set()
        assert (await going).status_code == 202
        await until_ready(serving)
        assert await serving.uris(key) == ["a.md"]


async def test_a_disk_that_is_full_is_waited_for(world: World) -> None:
    key, failures = world.key(), [CatalogueFailed("disk full")]

    def opened() -> PushCatalogue:
        if failures:
            raise failures.pop()
        return PushCatalogue.open()

    async with world.serving(open_catalogue=opened) as serving:
        assert (await serving.put(document(), key=key)).status_code == 202


async def test_a_directory_of_keys_that_is_away_is_said_and_waited_for(world: World) -> None:
    key = world.key()
    folder = world.folder / "not-yet"
    async with world.serving(api_keys_directory=str(folder)) as serving:
        answer = await serving.put(document(), key=key)
        assert (answer.status_code, answer.json()["code"]) == (503, "dependency_unavailable")
        assert str(folder) not in answer.text
        world.key_folder.rename(folder)
        assert (await serving.put(document(), key=key)).status_code == 202


async def test_an_audit_that_nobody_takes_is_bounded_and_its_loss_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_KINDS", 3)
    world.log.before = ".audit"
    async with world.serving() as serving:
        for number in range(5):
            serving.reception.audit.refused(f"k{number}", "documents.put", "KeyWrong")
        assert await serving.reception.audit.flush(world.log) is False
        shown = (await serving.http.get("/metrics")).text
        assert "lectern_audit_lost_total 2.0" in shown
        world.log.before = None
    assert [each.principal for each in world.said(Topic.AUDIT)] == ["k0", "k1", "k2"]
