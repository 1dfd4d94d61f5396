"""One knowledge base of a trial: its topics, collection, blobs and settings as the operator makes them, and its truth.

`Base.make` gives a new one in a world; trials publish through it, let workers of it run, and ask how it ended.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # published without types

from e2e.adapter_tests.operated import OperatedStore
from e2e.ingest_faults import checker, stub_vectors
from e2e.ingest_faults.checker import Difference
from e2e.ingest_faults.contents import Contents
from e2e.ingest_faults.model import Letters, Said, State, folded, letters
from e2e.ingest_faults.traffic import DEDICATED, Spoken
from e2e.ingest_faults.world import World
from e2e.testbed.kafka import OWNER
from lectern_contract import ids, messages, names
from lectern_contract import settings as contract
from lectern_contract.errors import ConfigurationError
from lectern_contract.ids import DocumentId
from lectern_contract.messages import DeadLetter, Deleted, DocumentEvent, Put
from lectern_contract.names import Topic
from lectern_contract.resources import KnowledgeBase
from lectern_contract.settings import WorkerSettings
from lectern_operator_tests import worlds
from lectern_operator_tests.store_stage import renamed
from lectern_runtime.adapters.directory import DirectoryBlobs
from lectern_runtime.errors import LogError
from lectern_runtime.maintain.rewind import Rewind, Target
from lectern_runtime.ports import CollectionSpec, OutgoingRecord

IDENTITY = "0123456789abcdef"
PARTITIONS = 4
GENERATION = 1
PUBLISH_AT_ONCE = 200
PUBLISH_SECONDS = 90.0
READ_AT_ONCE = 500
BLOBS_AT_ONCE = 16


@dataclass(frozen=True)
class Outcome:
    """How a base ended: differences from the model, and what the dead letters and events say."""

    differences: Sequence[Difference]
    documents: int
    points: int
    letters_missing: int
    letters_extra: int
    letters_repeated: int
    events: int
    events_repeated: int
    lag: int

    @property
    def is_equal(self) -> bool:
        """Whether the store holds what the log says, the dead letters are the model's, and nothing is left to do."""
        return not (self.differences or self.letters_missing or self.letters_extra or self.lag)

    def said(self) -> str:
        """Return the outcome in one sentence."""
        kinds: dict[str, int] = {}
        for each in self.differences:
            kinds[each.what] = kinds.get(each.what, 0) + 1
        wrong = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "0"
        return (
            f"{self.documents} documents, {self.points} points, differences: {wrong}; dead letters: "
            f"{self.letters_missing} missing, {self.letters_extra} extra, {self.letters_repeated} said again; "
            f"{self.events} events, {self.events_repeated} said again; lag {self.lag}"
        )


@dataclass
class Base:
    """A knowledge base; `blobs` remembers the bytes that were given, by sha256, for the truth."""

    world: World
    kb: KnowledgeBase
    settings: WorkerSettings
    truth: Contents
    bytes_of: dict[str, bytes]
    epoch: int = 0
    past: list[Said] = field(default_factory=list)

    @classmethod
    def make(cls, world: World, name: str, **changes: object) -> Base:
        """Make topics, collection and directory for a new knowledge base whose name begins with `name`."""
        kb = renamed(
            worlds.knowledge_base(
                partitioning__tenants=[{"name": DEDICATED, "dedicated": True}],
                partitioning__accessLevels=["internal", "public"],
            ),
            f"{name}-{uuid.uuid4().hex[:6]}",
        )
        settings = _settings(world, kb, changes)
        given: dict[str, bytes] = {}
        base = cls(world, kb, settings, Contents(settings, given), given)
        world.patiently(base._made)
        return base

    @property
    def place(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.kb.namespace, self.kb.name

    @property
    def collection(self) -> str:
        """Name of the collection that the workers fill."""
        return names.collection(*self.place, GENERATION)

    @property
    def group(self) -> str:
        """Consumer group of the workers."""
        return names.consumer_group(*self.place, GENERATION)

    def topic(self, which: Topic = Topic.DOCUMENTS) -> str:
        """Name of a topic."""
        return names.topic(*self.place, which)

    # ------------------------------------------------------------------------------------- saying

    def publish(self, spoken: Sequence[Spoken]) -> None:
        """Store bytes, then publish messages, as a connector does; waits for a broker that is away."""
        self.world.loop.run(self.published(spoken), PUBLISH_SECONDS + len(spoken) / 20)

    async def published(self, spoken: Sequence[Spoken]) -> None:
        """The same, in the world's loop. A broker that dies over a call may keep it twice: the log is the judge."""
        await self._stored(spoken)
        records = [OutgoingRecord(each.envelope.key, messages.encode(each.envelope)) for each in spoken]
        for start in range(0, len(records), PUBLISH_AT_ONCE):
            end = time.monotonic() + PUBLISH_SECONDS
            while True:
                try:
                    await self.world.log.publish(self.topic(), records[start : start + PUBLISH_AT_ONCE])
                    break
                except LogError:
                    if time.monotonic() > end:
                        raise
                    await asyncio.sleep(0.2)

    async def _stored(self, spoken: Sequence[Spoken]) -> None:
        blobs = await DirectoryBlobs.open(self.blob_directory)
        gate = asyncio.Semaphore(BLOBS_AT_ONCE)

        async def store(data: bytes) -> None:
            async with gate:
                self.bytes_of[await blobs.put(data)] = data

        fresh = {each.data for each in spoken if each.data and ids.content_digest(each.data) not in self.bytes_of}
        await asyncio.gather(*(store(data) for data in fresh))

    @property
    def blob_directory(self) -> Path:
        """Where the bytes lie."""
        assert isinstance(self.settings.blobs, contract.DirectoryBlobs)
        return Path(self.settings.blobs.path)

    # ------------------------------------------------------------------------------------ reading

    def lag(self) -> int:
        """Return how much the group has still to do."""
        return self.world.patiently(lambda: self.world.log.lag(self.topic(), group=self.group))

    def said(self) -> list[Said]:
        """Return every document message of the log, those of former lives of the topic included."""
        return [*self.past, *self.world.patiently(self._said)]

    def expected(self) -> State:
        """Return what the store has to hold."""
        return folded(self.said(), self.truth)

    def judged(self) -> Outcome:
        """Compare store, dead letters and events with the model."""
        said = self.said()
        wanted = folded(said, self.truth)
        stored = checker.read(self.world.double.url, self.collection)
        found = self.world.patiently(lambda: self._envelopes(Topic.DEAD_LETTERS))
        events = [each.id for each in self.world.patiently(lambda: self._envelopes(Topic.EVENTS))]
        missing, extra, repeated = self._letters(found, letters(said, self.truth))
        return Outcome(
            differences=checker.differences(stored, wanted),
            documents=len(wanted),
            points=len(stored),
            letters_missing=missing,
            letters_extra=extra,
            letters_repeated=repeated,
            events=len(events),
            events_repeated=len(events) - len(set(events)),
            lag=self.lag(),
        )

    def _letters(self, found: Sequence[messages.Envelope], wanted: Letters) -> tuple[int, int, int]:
        """How many dead letters are missing, should not be, and are there again."""
        there: list[tuple[DocumentId, int]] = []
        for each in found:
            assert isinstance(each.data, DeadLetter)
            # its id names the version, which the topic's life is part of
            version = each.id.removesuffix("-dead-letter").rpartition("-")[2]
            there.append((each.data.message.document.id, int(version)))
        unique = set(there)
        return len(wanted.required - unique), len(unique - wanted.allowed), len(there) - len(unique)

    def events(self) -> list[DocumentEvent]:
        """Return what the events topic says, in order of its partitions."""
        bodies = [each.data for each in self.world.patiently(lambda: self._envelopes(Topic.EVENTS))]
        return [body for body in bodies if isinstance(body, DocumentEvent)]

    async def _said(self) -> list[Said]:
        found: list[Said] = []
        consumer = await self.world.log.read_from_start(self.topic())
        while await consumer.lag():
            for record in await consumer.poll(max_records=READ_AT_ONCE, timeout_seconds=0.5):
                body = messages.decode(record.value).data
                assert isinstance(body, Put | Deleted)
                found.append(Said(self.epoch, record.position.partition, record.position.offset, body))
        await consumer.close()
        return found

    async def _envelopes(self, which: Topic) -> list[messages.Envelope]:
        found: list[messages.Envelope] = []
        consumer = await self.world.log.read_from_start(self.topic(which))
        while await consumer.lag():
            records = await consumer.poll(max_records=READ_AT_ONCE, timeout_seconds=0.5)
            found += [messages.decode(record.value) for record in records]
        await consumer.close()
        return found

    # ------------------------------------------------------------------------------------- moving

    def rewind(self, target: Target | dict[int, int]) -> None:
        """Send the group back as `lectern rewind` does, or to these offsets; no worker may run."""
        self.world.patiently(lambda: self._rewound(target))

    async def _rewound(self, target: Target | dict[int, int]) -> None:
        namespace, name = self.place
        rewind = Rewind(self.world.log, namespace=namespace, knowledge_base=name, generation=GENERATION)
        try:
            if isinstance(target, Target):
                await rewind.carry_out(await rewind.plan(target))
            else:
                await self.world.log.set_back(self.topic(), group=self.group, to=target)
        except ConfigurationError as error:  # a worker whose farewell was lost is a member until its session ends
            raise LogError(str(error)) from error

    def renew_topic(self) -> None:
        """Delete the documents topic and make it anew, as after a disaster of the broker: its epoch goes up."""
        self.past = self.said()
        self.world.patiently(self._renewed)
        self.epoch += 1

    async def _renewed(self) -> None:
        admin = AIOKafkaAdminClient(**access(self.world))
        await admin.start()
        try:
            if self.topic() in await admin.list_topics():
                await admin.delete_topics([self.topic()])
            async with asyncio.timeout(PUBLISH_SECONDS):
                while self.topic() in await admin.list_topics():
                    await asyncio.sleep(0.1)
        finally:
            await admin.close()
        await self.world.log.ensure_topic(self.topic(), partitions=PARTITIONS, compacted=True)

    async def _made(self) -> None:
        for which in Topic:
            await self.world.log.ensure_topic(
                self.topic(which), partitions=PARTITIONS, compacted=which is Topic.DOCUMENTS
            )
        assert isinstance(self.settings.store, contract.QdrantStore)
        direct = self.settings.store.model_copy(update={"url": self.world.double.url})
        store = OperatedStore(self.world.double.url, None, direct, self.kb)
        try:
            spec = CollectionSpec(self.collection, stub_vectors.DIMENSIONS, sparse=True, identity=IDENTITY)
            await store.ensure_collection(spec)
        finally:
            await store.close()


def access(world: World) -> dict[str, object]:
    return {
        "bootstrap_servers": world.direct,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": OWNER,
        "sasl_plain_password": world.broker.passwords[OWNER],
    }


def _settings(world: World, kb: KnowledgeBase, changes: dict[str, object]) -> WorkerSettings:
    """What the operator writes for the workers of `kb`."""
    given: dict[str, object] = {
        "namespace": kb.namespace,
        "knowledge_base": kb.name,
        "generation": GENERATION,
        "index_identity": IDENTITY,
        "embedder": contract.EmbedderSettings(
            model=stub_vectors.MODEL,
            revision="1",
            dimensions=stub_vectors.DIMENSIONS,
            max_input_tokens=stub_vectors.MAX_INPUT_TOKENS,
            query_prefix="",
            document_prefix="",
            source=contract.ModelServerSettings(url=world.stub.url, protocol="TEI", api_key_file=None, ca_file=None),
        ),
        "sparse_language": "en",
        "chunking": contract.ChunkingSettings(strategy="Recursive", size=32, overlap=4),
        "parsing": contract.ParsingSettings(
            media_types=("text/plain", "text/markdown"),
            max_document_bytes=1 << 20,
            timeout_seconds=30,
            ocr_languages=(),
        ),
        "masking": (),
        "embedding_cache": contract.EmbeddingCacheSettings(max_entries=0, ttl_seconds=60, redis=None),
        "max_attempts": 3,
        "tracing": None,
        "log": world.worker_log_settings,
        "blobs": contract.DirectoryBlobs(path=str(world.directory / "blobs" / kb.name)),
        "store": contract.QdrantStore(
            url=world.store_proxy.url, shard_by="TenantAndAccessLevel", api_key_file=None, ca_file=None
        ),
    }
    return WorkerSettings.model_validate({**given, **changes})
