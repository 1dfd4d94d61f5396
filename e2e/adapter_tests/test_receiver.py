"""A document's whole story: pushed over HTTP to a real process, through a real Kafka, found, deleted, and gone."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from e2e.adapter_tests import kafka_world
from e2e.testbed.kafka import Kafka
from e2e.testbed.process import free_ports
from lectern_contract import names, settings
from lectern_contract.messages import AccessDecision, decode
from lectern_contract.names import Topic
from lectern_contract.scope import Partition, Scope
from lectern_contract.settings import AnySettings, DirectoryBlobs, ReceiverSettings
from lectern_runtime import api_keys
from lectern_runtime.adapters import directory
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.kafka_log import KafkaLog
from lectern_runtime.embed.worker import Worker
from lectern_runtime.ports import SearchRequest, VectorStore
from lectern_runtime.sparse import SparseEncoder
from lectern_runtime_tests.ingest.receiver.world import settings as receiver_settings
from lectern_runtime_tests.pipeline import InlineParser, StubEmbedder, worker_settings

SECONDS = 60.0
PARTITIONS = 3
TEXTS = {f"guides/{number}.md": f"Guide {number} speaks of thing{number}." for number in range(20)}


@contextmanager
def receiver(loaded: AnySettings, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The program as the operator runs it, and its URL; whatever happens, it ends."""
    file, (port,) = folder / "settings.json", free_ports(1)
    file.write_text(settings.canonical(loaded))
    command = [sys.executable, "-m", "lectern_runtime.ingest", "--serve", "--settings", str(file), "--port", str(port)]
    with (folder / "receiver.log").open("ab") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _with_key(folder: Path) -> str:
    """A key in the directory of keys."""
    (folder / "keys").mkdir()
    key, digest = api_keys.new_key("feeder")
    rights = {"sha256": digest, "tenant": "acme", "access_levels": ["public", "secret"], "scopes": ["push"]}
    (folder / "keys" / "feeder").write_text(json.dumps(rights))
    return key


async def _topics(log: KafkaLog, loaded: ReceiverSettings) -> None:
    """Make the topics, as the operator does."""
    for which in Topic:
        name = names.topic(loaded.namespace, loaded.knowledge_base, which)
        partitions = PARTITIONS if which is Topic.DOCUMENTS else 1
        await log.ensure_topic(name, partitions=partitions, compacted=which is Topic.DOCUMENTS)


async def until(question: Callable[[], Awaitable[Any]]) -> Any:
    """The first answer that is one."""
    async with asyncio.timeout(SECONDS):
        while not (answer := await question()):
            await asyncio.sleep(0.05)
        return answer


async def found(store: VectorStore, collection: str, text: str) -> set[str]:
    """The documents that a reader of public documents is shown for the words of a text."""
    scope = Scope.of_writer(Partition("acme", "public"))
    words = SparseEncoder("en").query(text)
    request = SearchRequest("Sparse", None, words, candidates=50, limit=50, rrf_k=2, sparse_weight=1.0)
    return {hit.payload.uri for hit in await store.search(collection, scope, request)}


async def test_a_document_is_pushed_found_deleted_and_gone(kafka: Kafka, tmp_path: Path) -> None:
    log_settings = kafka_world.settings(kafka.at("PLAINTEXT"))
    kb, blob_folder = f"kb{uuid.uuid4().hex[:8]}", tmp_path / "blobs"
    key, keys = _with_key(tmp_path), tmp_path / "keys"
    blobs_settings = DirectoryBlobs(path=str(blob_folder))
    loaded = receiver_settings(knowledge_base=kb, api_keys_directory=str(keys), log=log_settings, blobs=blobs_settings)
    async with kafka_world.opened(log_settings) as log:
        await _topics(log, loaded)
        store = await EdgeStore.open(tmp_path / "store")
        blobs = await directory.DirectoryBlobs.open(blob_folder)
        embedder, stop = StubEmbedder(), asyncio.Event()
        asked = worker_settings(namespace=loaded.namespace, knowledge_base=kb, log=log_settings, blobs=blobs_settings)
        worker = Worker(asked, log=log, blobs=blobs, store=store, embedder=embedder, parser=InlineParser())
        await worker.ensure()
        working = asyncio.create_task(worker.run(stop))
        try:
            await _story(loaded, tmp_path, key, worker, store)
            await _told(log, names.topic(loaded.namespace, kb, Topic.AUDIT))
        finally:
            stop.set()
            await working
            await store.close()
            await blobs.close()


async def test_a_receiver_answers_before_its_log_does_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    (closed,) = free_ports(1)
    away = kafka_world.settings(f"127.0.0.1:{closed}")
    loaded = receiver_settings(log=away, blobs=DirectoryBlobs(path=str(tmp_path / "blobs")))
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        with receiver(loaded, tmp_path) as (process, url):
            told = await until(lambda: _unready(http, url))
            assert "waiting for the log" in told["reason"]
            assert (await http.get(f"{url}/configz")).json()["config_hash"] == settings.config_hash(loaded)
            assert (await http.post(f"{url}/v1/documents", json={})).json()["code"] == "push_not_allowed"
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0


def test_settings_of_another_runtime_end_the_receiver_with_a_sentence(tmp_path: Path) -> None:
    with receiver(worker_settings(), tmp_path) as (process, _):
        assert process.wait(SECONDS) == 2
    assert "holds the settings of a worker" in (tmp_path / "receiver.log").read_text()


async def test_a_request_under_way_is_answered_before_the_receiver_ends(kafka: Kafka, tmp_path: Path) -> None:
    log_settings, kb = kafka_world.settings(kafka.at("PLAINTEXT")), f"kb{uuid.uuid4().hex[:8]}"
    key = _with_key(tmp_path)
    blobs = DirectoryBlobs(path=str(tmp_path / "blobs"))
    loaded = receiver_settings(
        knowledge_base=kb, api_keys_directory=str(tmp_path / "keys"), log=log_settings, blobs=blobs
    )
    async with kafka_world.opened(log_settings) as log:
        await _topics(log, loaded)
    head = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    arrived = asyncio.Event()
    body = json.dumps({"uri": "a.md", "text": "late", "media_type": "text/plain"}).encode()

    async def halting() -> AsyncIterator[bytes]:
        yield body[:5]
        await arrived.wait()
        yield body[5:]

    async with httpx.AsyncClient(headers=head, trust_env=False, timeout=30) as http:
        with receiver(loaded, tmp_path) as (process, url):
            await until(lambda: _ready(http, url))
            answering = asyncio.create_task(http.post(f"{url}/v1/documents", content=halting()))
            await until(lambda: _working(http, url))
            process.send_signal(signal.SIGTERM)
            await until(lambda: _refused(http, url))
            arrived.set()
            assert (await answering).status_code == 202
            assert await asyncio.to_thread(process.wait, SECONDS) == 0


async def test_a_broker_that_stands_still_is_told_and_what_it_did_not_confirm_is_said_again(
    kafka: Kafka, tmp_path: Path
) -> None:
    log_settings, kb = kafka_world.settings(kafka.at("PLAINTEXT")), f"kb{uuid.uuid4().hex[:8]}"
    key, keys, blobs = _with_key(tmp_path), str(tmp_path / "keys"), DirectoryBlobs(path=str(tmp_path / "blobs"))
    loaded = receiver_settings(knowledge_base=kb, api_keys_directory=keys, log=log_settings, blobs=blobs)
    async with kafka_world.opened(log_settings) as log:
        await _topics(log, loaded)
    head = {"authorization": f"Bearer {key}"}
    first = {"uri": "a.md", "text": "first", "media_type": "text/plain"}
    second = {"uri": "b.md", "text": "second", "media_type": "text/plain"}
    async with httpx.AsyncClient(headers=head, trust_env=False, timeout=SECONDS) as http:
        with receiver(loaded, tmp_path) as (_, url):
            await until(lambda: _ready(http, url))
            assert (await http.post(f"{url}/v1/documents", json=first)).status_code == 202
            kafka.pause()
            try:
                refused = await http.post(f"{url}/v1/documents", json=second)
                held = (await http.get(f"{url}/v1/documents")).json()["documents"]
                same = await http.post(f"{url}/v1/documents", json=first)
            finally:
                kafka.resume()
            assert (refused.status_code, refused.json()["code"]) == (503, "dependency_unavailable")
            assert refused.headers["retry-after"] == "5"
            assert [each["uri"] for each in held] == ["a.md"]
            assert same.json()["unchanged"] == 1  # which needs no broker
            await until(lambda: _taken(http, url, second))
            held = (await http.get(f"{url}/v1/documents")).json()["documents"]
            assert [each["uri"] for each in held] == ["a.md", "b.md"]


async def _taken(http: httpx.AsyncClient, url: str, document: dict[str, str]) -> bool:
    answer = await http.post(f"{url}/v1/documents", json=document)
    return answer.status_code == 202 and answer.json()["accepted"] == 1


async def _story(loaded: ReceiverSettings, folder: Path, key: str, worker: Worker, store: VectorStore) -> None:
    head = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=head, trust_env=False, timeout=30) as http:
        with receiver(loaded, folder) as (process, url):
            await until(lambda: _ready(http, url))
            documents = [{"uri": uri, "text": text, "media_type": "text/markdown"} for uri, text in TEXTS.items()]
            pushed = await http.post(f"{url}/v1/documents", json={"documents": documents})
            assert (pushed.status_code, pushed.json()["accepted"]) == (202, len(TEXTS))
            done = await until(lambda: _ended(http, f"{url}/v1/runs/{pushed.json()['run_id']}"))
            assert (done["state"], {each["state"] for each in done["documents"]}) == ("done", {"done"})
            for uri, text in TEXTS.items():
                assert uri in await found(store, worker.collection, text)
            process.kill()  # its memory was all it had
            process.wait()
        with receiver(loaded, folder) as (process, url):
            await until(lambda: _ready(http, url))
            again = await http.post(f"{url}/v1/documents", json={"documents": documents})
            assert again.json()["unchanged"] == len(TEXTS)
            listed = (await http.get(f"{url}/v1/documents", params={"limit": 1000})).json()["documents"]
            assert [each["uri"] for each in listed] == sorted(TEXTS)
            secret = {**documents[1], "partition": {"tenant": "acme", "access_level": "secret"}}
            moved = await http.post(f"{url}/v1/documents", json=secret)
            gone = await http.delete(f"{url}/v1/documents", params={"uri": "guides/0.md"})
            for answer in (moved, gone):
                run = f"{url}/v1/runs/{answer.json()['run_id']}"
                assert (await until(lambda run=run: _ended(http, run)))["state"] == "done"  # type: ignore[misc]
            await until(lambda: _left(store, worker.collection, {"guides/0.md", "guides/1.md"}))
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0, (folder / "receiver.log").read_text()[-2000:]


async def _ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def _unready(http: httpx.AsyncClient, url: str) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = (await http.get(f"{url}/readyz")).json()
    except httpx.TransportError:
        return None
    return told if "waiting" in told["reason"] else None


async def _working(http: httpx.AsyncClient, url: str) -> bool:
    return "lectern_receiver_active_requests 1.0" in (await http.get(f"{url}/metrics")).text


async def _refused(http: httpx.AsyncClient, url: str) -> bool:
    """Whether nobody new is let in any more."""
    try:
        async with httpx.AsyncClient(trust_env=False) as another:
            await another.get(f"{url}/livez")
    except httpx.TransportError:
        return True
    return False


async def _ended(http: httpx.AsyncClient, run: str) -> dict[str, Any] | None:
    told: dict[str, Any] = (await http.get(run)).json()
    return None if told["state"] in ("queued", "running") else told


async def _left(store: VectorStore, collection: str, uris: set[str]) -> bool:
    """Whether readers of public documents are shown none of these any more."""
    return not any([uri in await found(store, collection, TEXTS[uri]) for uri in uris])


async def _told(log: KafkaLog, topic: str) -> None:
    """What was decided stands on the audit topic, also that of the receiver that ended well."""
    reader = await log.read_from_start(topic)
    decided = []
    while await reader.lag():
        decided += [decode(each.value).data for each in await reader.poll(max_records=100, timeout_seconds=1.0)]
    assert {(each.principal, each.action, each.allowed) for each in decided if isinstance(each, AccessDecision)} == {
        ("feeder", action, True) for action in ("documents.put", "documents.list", "documents.delete", "runs.get")
    }
