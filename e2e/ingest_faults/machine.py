"""Goal B3 in process: a Hypothesis state machine that says, delivers again, kills, breaks and holds back as it likes.

After every example a worker that nothing happens to reads what is left, and the store must hold what the log says.
`e2e/ingest_fault_tests` runs it; `machine.States.TestCase` is a test by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, TypeVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from bench.report import Aim, Goal
from e2e.ingest_faults import stub_vectors
from e2e.ingest_faults.contents import Contents
from e2e.ingest_faults.in_process import StubEmbedder
from e2e.ingest_faults.memory import FaultyStore, MemoryBlobs, MemoryLog
from e2e.ingest_faults.model import Expected, Said, folded
from e2e.ingest_faults.traffic import PARTITIONS, Spoken, deleted, put, reference
from lectern_contract import ids, messages, names
from lectern_contract.errors import DependencyError
from lectern_contract.messages import Deleted, Put
from lectern_contract.names import Topic
from lectern_contract.payload import DocumentState
from lectern_contract.scope import Scope
from lectern_runtime.embed.worker import Worker
from lectern_runtime.failpoints import FAILPOINTS, Failpoint, no_failpoint
from lectern_runtime.ports import OutgoingRecord, SearchRequest
from lectern_runtime_tests.pipeline import InlineParser, worker_settings
from lectern_runtime_tests.quick_disk import quick_directory

T = TypeVar("T")
PLACE = ("ns", "kb")
TOPIC = names.topic(*PLACE, Topic.DOCUMENTS)
GROUP = names.consumer_group(*PLACE, 1)
COLLECTION = names.collection(*PLACE, 1)
TEXTS = {
    "v1": "amber basin cedar " * 30,
    "v2": "delta ember " * 8,
    "v3": "amber basin cedar " * 12 + "fjord",
    "refused": f"grove {stub_vectors.REFUSED} heron",
    "empty": " . ",
}
WORDS = (*TEXTS, "delete")
SECONDS = 120.0
STEPS = 20
SEQUENCES = Aim("B3", "sequences of a state machine that do not end as the log says", "<=", 0)
MOST = 1_000


class Killed(BaseException):
    """The worker of a trial dies here: nothing of it runs on, and nothing catches this."""


def killing(name: str, nth: int, error: Callable[[], BaseException]) -> Failpoint:
    """Return a failpoint that raises at the `nth` time that `name` is passed, and once only."""
    left = nth

    def failpoint(passed: str) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                raise error()

    return failpoint


class States(RuleBasedStateMachine):
    """One knowledge base whose worker has a hard time."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._disk = ExitStack()
        directory = self._disk.enter_context(quick_directory())
        self._log, self._blobs = MemoryLog(), MemoryBlobs()
        self._settings = worker_settings()
        self._truth = Contents(self._settings, self._blobs.bytes_of)
        self._failpoint: Failpoint = no_failpoint
        store = self._run(FaultyStore.open(directory / "store", failpoint=self._passed))
        assert isinstance(store, FaultyStore)
        self._store = store
        self._epoch, self._past = 0, list[Said]()
        self._zombies: list[tuple[asyncio.Task[None], asyncio.Event]] = []
        self._run(self._worker().ensure())

    # -------------------------------------------------------------------------------------- rules

    @rule(number=st.integers(0, 3), word=st.sampled_from(WORDS))
    def say(self, number: int, word: str) -> None:
        """A connector says something about a document."""
        spoken = self._spoken(number, word)
        self._run(self._publish(spoken))

    @rule()
    def work(self) -> None:
        """A worker does all that there is."""
        self._run(self._work())

    @rule(name=st.sampled_from(FAILPOINTS), nth=st.integers(1, 6))
    def kill(self, name: str, nth: int) -> None:
        """A worker dies at a failpoint, if it comes there."""
        self._failpoint = killing(name, nth, Killed)
        self._run(self._work())
        self._failpoint = no_failpoint

    @rule(name=st.sampled_from(FAILPOINTS), nth=st.integers(1, 6))
    def fail(self, name: str, nth: int) -> None:
        """Something that the worker needs fails once."""
        self._failpoint = killing(name, nth, lambda: DependencyError("as the trial asks", dependency="vector-store"))
        self._run(self._work())
        self._failpoint = no_failpoint

    @rule(by=st.integers(1, 6))
    def redeliver(self, by: int) -> None:
        """The group's last commits are lost."""
        self._log.rewind(TOPIC, GROUP, by)

    @rule(refusals=st.lists(st.booleans(), min_size=1, max_size=3))
    def restart_broker(self, refusals: list[bool]) -> None:
        """The broker is away for a few calls; some of them it has heard."""
        self._log.refusals = refusals
        self._run(self._work())
        self._log.refusals = []

    @rule(times=st.integers(1, 3))
    def break_store(self, times: int) -> None:
        """The store answers errors although it applied the writes."""
        self._store.failing = times
        self._run(self._work())
        self._store.failing = 0

    @precondition(lambda self: len(self._zombies) < 2)
    @rule()
    def rebalance(self) -> None:
        """A worker's write is held back, and others go on without it."""
        self._run(self._held_back())

    @precondition(lambda self: self._zombies)
    @rule()
    def wake(self) -> None:
        """The oldest write that was held back reaches the store, and its worker goes on."""
        self._run(self._woken())

    @rule()
    def renew_topic(self) -> None:
        """The topic is deleted and made anew; what nobody had read yet would be lost with it, for good."""
        if self._epoch < 3:
            self._run(self._ended())
            self._run(self._work())
            self._past = self._said()
            self._epoch += 1
            self._log.renew(TOPIC)

    def teardown(self) -> None:
        """Let everything end, and compare."""
        try:
            self._run(self._ended())
            self._run(self._work())
            wanted = folded(self._said(), self._truth)
            expected = {self._spelled(each) for each in wanted.values()}
            assert self._run(self._there()) == expected
        finally:
            self._run(self._store.close())
            self._loop.close()
            self._disk.close()

    # ------------------------------------------------------------------------------------- inside

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(SECONDS):
                return await coroutine

        return self._loop.run_until_complete(bounded())

    def _passed(self, name: str) -> None:
        self._failpoint(name)

    def _spoken(self, number: int, word: str) -> Spoken:
        document = reference(*PLACE, f"doc-{number}.txt", PARTITIONS[number % 2])
        return deleted(document) if word == "delete" else put(document, TEXTS[word])

    async def _publish(self, spoken: Spoken) -> None:
        if spoken.data:
            await self._blobs.put(spoken.data)
        await self._log.publish(TOPIC, [OutgoingRecord(spoken.envelope.key, messages.encode(spoken.envelope))])

    def _worker(self) -> Worker:
        return Worker(
            self._settings,
            log=self._log,
            blobs=self._blobs,
            store=self._store,
            embedder=StubEmbedder(),
            parser=InlineParser(),
            sleep=_at_once,
            failpoint=self._passed,
        )

    async def _work(self) -> None:
        """Work to the end of the log, or to the worker's own end."""
        try:
            await self._worker().run(asyncio.Event(), until_caught_up=True)
        except (Killed, DependencyError):
            return
        except BaseExceptionGroup as group:
            if group.split((Killed, DependencyError))[1] is not None:
                raise

    async def _held_back(self) -> None:
        hold, held = asyncio.Event(), asyncio.Event()
        self._store.hold, self._store.held = hold, held
        zombie = asyncio.create_task(self._work())
        waiting = asyncio.create_task(held.wait())
        await asyncio.wait({zombie, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        self._store.hold = self._store.held = None
        if not zombie.done():
            self._zombies.append((zombie, hold))

    async def _woken(self) -> None:
        zombie, hold = self._zombies.pop(0)
        hold.set()
        await zombie

    async def _ended(self) -> None:
        while self._zombies:
            await self._woken()

    def _said(self) -> list[Said]:
        found = list(self._past)
        for record in self._log.records(TOPIC):
            body = messages.decode(record.value).data
            assert isinstance(body, Put | Deleted)
            found.append(Said(self._epoch, record.position.partition, record.position.offset, body))
        return found

    def _spelled(self, each: Expected) -> tuple[object, ...]:
        digests = tuple((each.version, piece.text, ids.text_digest(piece.embedded)) for piece in each.pieces)
        reason = each.fault or ""
        return (each.document.id, each.version, each.state, each.sha256, reason, digests)

    async def _there(self) -> set[tuple[object, ...]]:
        """Everything in the store, spelled as `_spelled` does; chunks of no record come as a line of their own."""
        query = np.full(stub_vectors.DIMENSIONS, stub_vectors.DIMENSIONS**-0.5, np.float32)
        found: set[tuple[object, ...]] = set()
        for partition in PARTITIONS[:2]:
            scope = Scope.of_writer(partition)
            request = SearchRequest("Dense", query, None, MOST, MOST, 60, 1.0)
            hits = await self._store.search(COLLECTION, scope, request)
            chunks = sorted((hit.payload for hit in hits), key=lambda each: (each.document_id, each.number))
            records = await self._store.list_records(COLLECTION, scope, after=None, limit=MOST)
            for record in records:
                own = [each for each in chunks if each.document_id == record.document_id]
                digests = tuple((each.version, each.text, each.text_digest) for each in own)
                reason = record.reason.partition(":")[0] if record.state is DocumentState.FAILED else ""
                found.add((record.document_id, record.version, record.state, record.sha256, reason, digests))
            known = {record.document_id for record in records}
            found |= {("no record", each.document_id) for each in chunks if each.document_id not in known}
        return found


def goal(examples: int) -> Goal:
    """Run the machine on so many sequences and return the goal."""
    asked = settings(
        max_examples=examples, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
    )
    try:
        run_state_machine_as_test(States, settings=asked)
    except AssertionError as error:
        said = " ".join(getattr(error, "__notes__", ()))
        return SEQUENCES.measured(1, n=examples, reason=f"{' '.join(said.split())[:400]}; replay: B3")
    return SEQUENCES.measured(0, n=examples)


async def _at_once(_seconds: float) -> None:
    await asyncio.sleep(0)
