"""One receiver from its start to its end: what its routes share, and what goes on beside the requests.

`create_app` serves a reception at once; `attend` opens what is behind it. Nothing is taken before the catalogue says
what the log has, nor after it may have become another topic: then it is read anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry

from lectern_contract import messages, names
from lectern_contract.errors import ConfigurationError, DependencyError, DocumentError
from lectern_contract.messages import DeadLetter, DocumentEvent, Put
from lectern_contract.names import Topic
from lectern_contract.settings import ReceiverSettings, config_hash
from lectern_runtime import topics
from lectern_runtime.api_keys import ApiKeys
from lectern_runtime.http.problems import Refused
from lectern_runtime.ingest.receiver import catalogue as catalogues
from lectern_runtime.ingest.receiver.audit import Audit
from lectern_runtime.ingest.receiver.catalogue import Catalogue, CatalogueFailed
from lectern_runtime.ingest.receiver.idempotency import Answers
from lectern_runtime.ingest.receiver.problems import Problem
from lectern_runtime.ingest.receiver.rights import Rights
from lectern_runtime.ingest.receiver.runs import Runs
from lectern_runtime.ingest.receiver.taking import Taking
from lectern_runtime.opening import Patience, Readiness
from lectern_runtime.ports import BlobStore, Consumer, Log
from lectern_runtime.telemetry.receiver_metrics import ReceiverMetrics

LOAD_SECONDS = 3600.0
"""For reading a whole topic; a log that gives nothing meanwhile ends the attempt sooner."""
WATCH_SECONDS = 15.0
FOLLOW_RECORDS = 1_000
POLL_SECONDS = 1.0
OpenCatalogue = Callable[[], Catalogue]
logger = logging.getLogger("lectern.receiver")


class Reception:
    """What the routes of one receiver share."""

    def __init__(self, settings: ReceiverSettings, *, registry: CollectorRegistry, readiness: Readiness) -> None:
        directory = settings.api_keys_directory
        self.settings = settings
        self.registry = registry
        self.readiness = readiness
        self.metrics = ReceiverMetrics(registry)
        self.audit = Audit(settings, self.metrics)
        keys = ApiKeys(Path(directory), on_malformed=self.metrics.malformed) if directory is not None else None
        self.rights = Rights(settings, keys, self.audit)
        self.runs = Runs()
        self.answers = Answers()
        self.config_hash = config_hash(settings)
        self.version = version("lectern")
        self.ready = asyncio.Event()
        self._taking: Taking | None = None
        self._stale = asyncio.Event()

    @property
    def taking(self) -> Taking:
        """What takes documents; raises `Refused` while the receiver is not ready."""
        if self._taking is None:
            raise Refused(Problem.NOT_READY, "The receiver reads what it holds from the log; try again shortly.")
        return self._taking

    async def attend(self, log: Log, blobs: BlobStore, open_catalogue: OpenCatalogue, patience: Patience) -> None:
        """Make it ready and keep it so, until cancelled. Raises `ConfigurationError` for settings that cannot work."""
        settings = self.settings
        place = (settings.namespace, settings.knowledge_base)
        await patience.opened(
            "log", lambda: topics.ensure(log, settings.log, namespace=place[0], knowledge_base=place[1])
        )
        auditing = asyncio.create_task(self.audit.run(log))
        try:
            while True:
                with contextlib.closing(await patience.opened("catalogue", lambda: _made(open_catalogue))) as catalogue:
                    await self._attend(log, blobs, catalogue, patience)
        finally:
            auditing.cancel()
            await asyncio.gather(auditing, return_exceptions=True)

    async def _attend(self, log: Log, blobs: BlobStore, catalogue: Catalogue, patience: Patience) -> None:
        """Serve with one catalogue, until what it was read from is another topic or it fails."""
        settings = self.settings
        topic = names.topic(settings.namespace, settings.knowledge_base, Topic.DOCUMENTS)
        patient = replace(patience, attempt_seconds=LOAD_SECONDS)
        self._stale.clear()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._pause)
            events = await self._reader(log, Topic.EVENTS, patience, stack)
            letters = await self._reader(log, Topic.DEAD_LETTERS, patience, stack)
            topic_id = await patience.opened("log", lambda: log.topic_id(topic))
            await patient.opened("log", lambda: _loaded(log, topic, settings, catalogue))
            self._taking = Taking(
                settings,
                log=log,
                blobs=blobs,
                catalogue=catalogue,
                runs=self.runs,
                rights=self.rights,
                broken=self._stale.set,
            )
            self.readiness.done()
            self.ready.set()
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(self._follow(events, catalogue)),
                    group.create_task(self._follow(letters, catalogue)),
                    group.create_task(self._watch(log, topic, topic_id, catalogue)),
                ]
                await self._stale.wait()
                for task in beside:
                    task.cancel()

    async def _pause(self) -> None:
        """Take nothing more, and let what is under way come to its end, so that the log says all of it."""
        taking, self._taking = self._taking, None
        self.ready.clear()
        self.readiness.waits_for(DependencyError("what the source holds is read from its topic", dependency="log"))
        if taking is not None:
            await taking.finished()

    async def _reader(self, log: Log, which: Topic, patience: Patience, stack: contextlib.AsyncExitStack) -> Consumer:
        topic = names.topic(self.settings.namespace, self.settings.knowledge_base, which)
        reader = await patience.opened("log", lambda: log.subscribe(topic, group=None))
        stack.push_async_callback(reader.close)
        return reader

    async def _follow(self, reader: Consumer, catalogue: Catalogue) -> None:
        """Hear what becomes of documents; a log that is away is waited for, another topic ends this catalogue."""
        while True:
            try:
                records = await reader.poll(max_records=FOLLOW_RECORDS, timeout_seconds=POLL_SECONDS)
            except DependencyError as error:
                logger.warning("what becomes of documents cannot be heard, trying again: %s", error)
                await asyncio.sleep(POLL_SECONDS)
                continue
            except ConfigurationError as error:
                logger.warning("what the source holds is read anew: %s", error)
                self._stale.set()
                return
            try:
                await self._hear([record.value for record in records], catalogue)
            except CatalogueFailed as error:
                logger.warning("what the source holds is read anew: %s", error)
                self._stale.set()

    async def _hear(self, values: Sequence[bytes], catalogue: Catalogue) -> None:
        for value in values:
            try:
                body = messages.decode(value).data
            except DocumentError as error:
                logger.warning("passed over a message: %s", error.reason)
                continue
            if isinstance(body, DocumentEvent) and catalogues.ours(body.document, self.settings):
                self.runs.event(body)
            elif isinstance(body, DeadLetter) and catalogues.ours(body.message.document, self.settings):
                self.runs.dead_letter(body)
                if isinstance(body.message, Put):
                    await asyncio.to_thread(self._given_up, body.message, catalogue)

    def _given_up(self, message: Put, catalogue: Catalogue) -> None:
        """Note that a worker gave the document up as it stands, so that the same content is worth a try."""
        document = message.document
        rows = catalogue.find(document.tenant, [document.uri]).get(document.uri, ())
        failed = [
            replace(row, failed=True)
            for row in rows
            if row.partition == document.partition and row.sha256 == message.sha256 and not row.failed
        ]
        if failed:
            catalogue.note(failed)

    async def _watch(self, log: Log, topic: str, topic_id: str, catalogue: Catalogue) -> None:
        """Count what is held, and see whether the topic is still the one that was read."""
        while True:
            try:
                self.metrics.held.set(await asyncio.to_thread(catalogue.count))
                await asyncio.sleep(WATCH_SECONDS)
                if await log.topic_id(topic) != topic_id:
                    logger.warning("topic %s was made anew; what the source holds is read again", topic)
                    self._stale.set()
                    return
            except CatalogueFailed as error:
                logger.warning("what the source holds is read anew: %s", error)
                self._stale.set()
                return
            except DependencyError as error:
                logger.warning("topic %s cannot be looked at, trying again: %s", topic, error)


async def _made(open_catalogue: OpenCatalogue) -> Catalogue:
    return await asyncio.to_thread(open_catalogue)


async def _loaded(log: Log, topic: str, settings: ReceiverSettings, catalogue: Catalogue) -> None:
    began = time.monotonic()
    await catalogues.load(log, topic, settings, catalogue)
    seconds = round(time.monotonic() - began, 2)
    logger.info("the catalogue is read", extra={"documents": catalogue.count(), "seconds": seconds})


def new_id() -> str:
    """An id for a request that brought none."""
    return uuid.uuid4().hex
