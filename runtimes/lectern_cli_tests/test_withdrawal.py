"""Deletions while another generation is built: they take effect in the one that answers, and commit nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from lectern_cli import generations
from lectern_cli.withdrawal import Withdrawal
from lectern_cli_tests.test_generations import TOPIC, base
from lectern_contract import ids, messages, names, wiring
from lectern_contract.messages import Deleted, DocumentEvent, DocumentRef, Envelope
from lectern_contract.names import Topic
from lectern_contract.payload import ChunkPayload, DocumentRecord, DocumentState
from lectern_contract.scope import Scope
from lectern_runtime import topics
from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.ports import Chunk, DocumentWrite, OutgoingRecord, SparseVector

NOW = "2026-11-21T12:00:00Z"
COLLECTION = names.collection("default", "docs", 1)
GROUP = names.consumer_group("default", "docs", 1)


def document(uri: str) -> DocumentRef:
    return DocumentRef(
        namespace="default", knowledge_base="docs", tenant="acme", access_level="public", source="docs", uri=uri
    )


def record(ref: DocumentRef, version: int) -> DocumentRecord:
    return DocumentRecord(
        tenant=ref.tenant,
        access_level=ref.access_level,
        document_id=ref.id,
        version=version,
        source=ref.source,
        uri=ref.uri,
        title=ref.uri,
        state=DocumentState.INDEXED,
        sha256="0" * 64,
        media_type="text/plain",
        chunks=1,
        reason="",
    )


def chunk(ref: DocumentRef, version: int) -> Chunk:
    payload = ChunkPayload(
        tenant=ref.tenant,
        access_level=ref.access_level,
        document_id=ref.id,
        version=version,
        source=ref.source,
        uri=ref.uri,
        title=ref.uri,
        number=0,
        text="a text",
        text_digest=ids.text_digest(ref.uri),
        section="",
        page=None,
        start=0,
        end=6,
        tokens=2,
        metadata={},
    )
    dense = np.zeros(384, dtype=np.float32)
    dense[0] = 1
    return Chunk(ids.chunk_id(ref.id, 0), payload, dense, SparseVector((1,), (1.0,)))


class World:
    """A generation with the documents a and b, of versions 1 and 2."""

    def __init__(self, store: EdgeStore, log: SqliteLog, blobs: DirectoryBlobs) -> None:
        self.store, self.log, self.blobs = store, log, blobs
        self.refs = {uri: document(uri) for uri in ("a.md", "b.md")}

    async def fill(self) -> None:
        settings = wiring.worker_settings(base(), generation=1).log
        await topics.ensure(self.log, settings, namespace="default", knowledge_base="docs")
        await generations.choose(base(), store=self.store, log=self.log)
        await self.log.publish(TOPIC, [OutgoingRecord(f"filler-{n}", b"not a message") for n in range(3)])
        for version, ref in enumerate(self.refs.values(), start=1):
            scope = Scope.of_writer(ref.partition)
            await self.store.write_documents(
                COLLECTION, scope, [DocumentWrite(record(ref, version), [chunk(ref, version)])]
            )

    async def delete(self, uri: str) -> None:
        envelope = Envelope(id="1", source="test", time=NOW, data=Deleted(document=document(uri)))
        await self.log.publish(TOPIC, [OutgoingRecord(envelope.key, messages.encode(envelope))])

    async def withdraw(self) -> None:
        """One pass: over as soon as nothing is left to read."""
        looks = iter([False] * 12)
        withdrawal = Withdrawal(base(), 1, self.log, self.blobs, self.store, lambda: NOW)
        await withdrawal.run(lambda: next(looks, True))

    async def states(self) -> dict[str, DocumentState | None]:
        found = {}
        for uri, ref in self.refs.items():
            kept = (await self.store.get_records(COLLECTION, Scope.of_writer(ref.partition), [ref.id])).get(ref.id)
            found[uri] = kept.state if kept is not None else None
        return found


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("lectern_cli.withdrawal.POLL_SECONDS", 0.01)
    store, log = await EdgeStore.open(tmp_path / "store"), await SqliteLog.open(tmp_path / "log.sqlite3")
    made = World(store, log, await DirectoryBlobs.open(tmp_path / "blobs"))
    await made.fill()
    yield made
    await store.close()
    await log.close()


async def test_a_deleted_document_goes_with_its_chunks_and_an_event_and_nothing_is_committed(world: World) -> None:
    lag = await world.log.lag(TOPIC, group=GROUP)
    events = await world.log.subscribe(names.topic("default", "docs", Topic.EVENTS), group=None)
    await world.delete("a.md")

    await world.withdraw()

    told = [messages.decode(each.value).data for each in await events.poll(max_records=9, timeout_seconds=1)]
    assert await world.states() == {"a.md": DocumentState.DELETED, "b.md": DocumentState.INDEXED}
    info = await world.store.describe(COLLECTION)
    assert info is not None
    assert info.chunks == 1
    assert [(each.document.uri, each.change) for each in told if isinstance(each, DocumentEvent)] == [
        ("a.md", "deleted")
    ]
    assert await world.log.lag(TOPIC, group=GROUP) == lag + 1


async def test_a_second_pass_changes_and_tells_nothing(world: World) -> None:
    await world.delete("a.md")
    await world.withdraw()
    events = await world.log.subscribe(names.topic("default", "docs", Topic.EVENTS), group=None)

    await world.withdraw()

    assert await world.states() == {"a.md": DocumentState.DELETED, "b.md": DocumentState.INDEXED}
    assert list(await events.poll(max_records=9, timeout_seconds=0)) == []


async def test_a_document_that_the_generation_never_had_is_not_written(world: World) -> None:
    await world.delete("never.md")

    await world.withdraw()

    info = await world.store.describe(COLLECTION)
    assert info is not None
    assert (info.chunks, info.records) == (2, 2)
