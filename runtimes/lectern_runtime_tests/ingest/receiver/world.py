"""The world of the receiver's tests: the real embedded log, blobs and catalogue, API keys in a directory, and the app.

`World.serving` is one life of a receiver; a second one on the same world is a restart. `Moody` stands before the log
and fails as a broker does: before it has the records, or after.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from lectern_contract import messages, names
from lectern_contract.messages import Change, DeadLetter, Deleted, DocumentEvent, Envelope, Put
from lectern_contract.names import Topic
from lectern_contract.settings import (
    DirectoryBlobs,
    EmbeddedLog,
    PartitionRuleSettings,
    PartitionSettings,
    ReceiverSettings,
)
from lectern_runtime import api_keys
from lectern_runtime.adapters import directory
from lectern_runtime.adapters.push_catalogue import PushCatalogue
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.errors import BlobStoreError, LogError
from lectern_runtime.ingest.receiver.app import create_app
from lectern_runtime.ingest.receiver.reception import OpenCatalogue, Reception
from lectern_runtime.opening import Patience, Readiness
from lectern_runtime.ports import OutgoingRecord, Position, Record

NAMESPACE, KB, SOURCE = "ns", "guides", "inbox"
READY_SECONDS = 20.0


def settings(**changes: Any) -> ReceiverSettings:
    given: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": SOURCE,
        "knowledge_base": KB,
        "api_keys_directory": None,
        "include": ("**",),
        "exclude": (),
        "partition": PartitionSettings(tenant="acme", access_level="public"),
        "partition_rules": (PartitionRuleSettings(path_prefix="hr", tenant="acme", access_level="secret"),),
        "access_levels": ("public", "secret"),
        "metadata": {},
        "media_types": ("text/*", "application/pdf"),
        "max_document_bytes": 10_000,
        "tracing": None,
        "log": EmbeddedLog(),
        "blobs": DirectoryBlobs(),
    }
    return ReceiverSettings(**{**given, **changes})


def document(uri: Any = "a.md", text: Any = "hello", **changes: Any) -> dict[str, Any]:
    return {"uri": uri, "text": text, "media_type": "text/markdown", **changes}


class Moody:
    """A log that fails when it is told to: `before` it has the records, `after` it has them."""

    read_from_start: Any
    topic_id: Any

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self.before: str | None = None
        self.after: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.taken: list[tuple[str, bytes]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def publish(self, topic: str, records: Sequence[OutgoingRecord]) -> Sequence[Position]:
        await self.gate.wait()
        if self.before is not None and topic.endswith(self.before):
            raise LogError("no broker answers")
        positions = await self._log.publish(topic, records)
        self.taken += [(topic, record.value) for record in records]
        if self.after is not None and topic.endswith(self.after):
            raise LogError("no broker confirmed it in time")
        return positions


class MoodyBlobs:
    """A blob store that is away when it is told to be."""

    def __init__(self, blobs: directory.DirectoryBlobs) -> None:
        self._blobs = blobs
        self.away = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    async def put(self, data: bytes) -> str:
        if self.away:
            raise BlobStoreError("the bucket does not answer")
        return await self._blobs.put(data)


@dataclass
class Serving:
    """A receiver that answers."""

    reception: Reception
    http: httpx.AsyncClient

    async def put(self, *documents: dict[str, Any], key: str, **headers: str) -> httpx.Response:
        body = documents[0] if len(documents) == 1 else {"documents": list(documents)}
        return await self.http.post("/v1/documents", json=body, headers={**bearer(key), **_dashed(headers)})

    async def listed(self, key: str, **query: Any) -> httpx.Response:
        return await self.http.get("/v1/documents", params=query, headers=bearer(key))

    async def uris(self, key: str, **query: Any) -> list[str]:
        return [each["uri"] for each in (await self.listed(key, **query)).json()["documents"]]

    async def delete(self, *uris: str, key: str) -> httpx.Response:
        if len(uris) == 1:
            return await self.http.delete("/v1/documents", params={"uri": uris[0]}, headers=bearer(key))
        return await self.http.post("/v1/documents/delete", json={"uris": list(uris)}, headers=bearer(key))

    async def run(self, run_id: str, key: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get(f"/v1/runs/{run_id}", headers=bearer(key))).json()
        return found

    async def run_ends(self, run_id: str, key: str) -> dict[str, Any]:
        async with asyncio.timeout(READY_SECONDS):
            while (found := await self.run(run_id, key))["state"] in ("queued", "running"):
                await asyncio.sleep(0.01)
            return found


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class World:
    """Everything outside the receiver."""

    folder: Path
    log: Moody
    blobs: MoodyBlobs
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def key_folder(self) -> Path:
        return self.folder / "keys"

    def key(self, key_id: str = "feeder", **changes: Any) -> str:
        """Put a key into the directory and return it."""
        key, digest = api_keys.new_key(key_id)
        content = {"sha256": digest, "tenant": "acme", "access_levels": ["public", "secret"], "scopes": ["push"]}
        (self.key_folder / key_id).write_text(json.dumps({**content, **changes}))
        return key

    @asynccontextmanager
    async def serving(
        self, *, ready: bool = True, open_catalogue: OpenCatalogue = PushCatalogue.open, **changes: Any
    ) -> AsyncIterator[Serving]:
        loaded = settings(**{"api_keys_directory": str(self.key_folder), **changes})
        readiness = Readiness()
        reception = Reception(loaded, registry=CollectorRegistry(), readiness=readiness)
        patience = Patience(readiness, first_seconds=0.01, longest_seconds=0.02)
        behind = asyncio.create_task(reception.attend(self.log, self.blobs, open_catalogue, patience))
        transport = httpx.ASGITransport(app=create_app(reception))
        async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as http:
            serving = Serving(reception, http)
            try:
                if ready:
                    await until_ready(serving, behind)
                yield serving
            finally:
                behind.cancel()
                await asyncio.gather(behind, return_exceptions=True)

    def said(self, which: Topic = Topic.DOCUMENTS) -> list[Any]:
        """The bodies of all messages that the log took on a topic, in order, whatever it has compacted away since."""
        return [messages.decode(value).data for taken, value in self.log.taken if taken == topic(which)]

    async def records(self, which: Topic) -> list[Record]:
        reader = await self.log.read_from_start(topic(which))
        found: list[Record] = []
        while await reader.lag():
            found += await reader.poll(max_records=1000, timeout_seconds=1.0)
        await reader.close()
        return found

    async def work(self, *, fail: Sequence[str] = ()) -> None:
        """Do as a worker does with everything on the documents topic: events, and dead letters for some uris."""
        for record in await self.records(Topic.DOCUMENTS):
            body = messages.decode(record.value).data
            assert isinstance(body, Put | Deleted)
            change = Change.DELETED if isinstance(body, Deleted) else Change.INDEXED
            if body.document.uri in fail and isinstance(body, Put):
                change = Change.FAILED
                letter = DeadLetter(
                    message=body,
                    stage="parse",
                    reason="Encrypted",
                    detail="it asks for a password",
                    attempts=1,
                    origin_partition=record.position.partition,
                    origin_offset=record.position.offset,
                )
                await self.tell(Topic.DEAD_LETTERS, letter)
            await self.tell(
                Topic.EVENTS, DocumentEvent(document=body.document, change=change, version=record.position.offset)
            )

    async def tell(self, which: Topic, body: Any) -> None:
        envelope = Envelope(id="e", source="test", time="2026-11-21T00:00:00Z", data=body)
        await self.log.publish(topic(which), [OutgoingRecord(envelope.key, messages.encode(envelope))])


def topic(which: Topic) -> str:
    return names.topic(NAMESPACE, KB, which)


async def until_ready(serving: Serving, behind: asyncio.Task[None] | None = None) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while serving.reception.readiness.reason:
            assert behind is None or not behind.done(), behind.exception()
            await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[World]:
    (folder / "keys").mkdir()
    log = await SqliteLog.open(folder / "log.sqlite")
    blobs = await directory.DirectoryBlobs.open(folder / "blobs")
    try:
        yield World(folder, Moody(log), MoodyBlobs(blobs))
    finally:
        await blobs.close()
        await log.close()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()
