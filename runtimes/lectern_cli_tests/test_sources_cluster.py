"""Sources on a cluster: the resources' status, what the workers add, and what is said when they cannot be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from lectern_cli import sources_cluster, sources_sync
from lectern_cli.progress import Reading
from lectern_cli.sources import Freshness, Run, Running, Source
from lectern_cli.sources_cluster import Body
from lectern_cli_tests.test_exposition import worker
from lectern_cli_tests.test_sources import RUN, document
from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.reports import RunMode

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Cluster:
    """An API server with sources and workers; each worker's metrics are a text, or the fault of asking."""

    def __init__(self, *bodies: dict[str, Any], workers: Mapping[str, str | Exception] | None = None) -> None:
        self.bodies = list(bodies)
        self.pods = dict(workers or {})
        self.annotated: list[dict[str, str]] = []
        self.asked = 0

    def sources(self, namespace: str | None) -> Sequence[Body]:
        """Return those of a namespace."""
        self.asked += 1
        return [body for body in self.bodies if namespace in (None, body["metadata"]["namespace"])]

    def workers(self, namespace: str, knowledge_base: str) -> Sequence[str]:
        """Return the pods."""
        return sorted(self.pods)

    def metrics(self, namespace: str, pod: str) -> str:
        """Return what a worker says."""
        found = self.pods[pod]
        if isinstance(found, Exception):
            raise found
        return found

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str]) -> Body:
        """Take annotations."""
        self.annotated.append(dict(annotations))
        return self.bodies[0]


def told(cluster: Cluster) -> Source:
    """The only source."""
    (found,) = sources_cluster.tell(cluster, "team", now=NOW)
    return found


def test_workers_add_lag_and_freshness_and_the_schedule_the_next_run() -> None:
    spec = {"schedule": "0 2 * * *", "timeZone": "Europe/Berlin"}
    cluster = Cluster(document(spec=spec), workers={"a": worker(0.2, lag=3), "b": worker(3, lag=4)})
    found = told(cluster)
    assert (found.pending, found.next_run) == (7, "2026-11-22T01:00:00Z")
    assert found.freshness == Freshness(documents=2, half_within=0.25, most_within=5)
    assert found.unknown.keys() == {"lastRun", "indexed", "deadLetters"}


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ({}, "no pod of the workers of KnowledgeBase/docs runs that could say"),
        (
            {"a": worker(lag=3), "b": DependencyError("the API server answers 403 Forbidden", dependency="kubernetes")},
            "the workers of KnowledgeBase/docs could not be asked: the API server answers 403 Forbidden",
        ),
        (
            {f"w{number}": worker() for number in range(21)},
            "the workers of KnowledgeBase/docs are more than the 20 that are asked",
        ),
    ],
)
def test_what_workers_do_not_say_is_unknown_and_never_zero(workers: dict[str, Any], words: str) -> None:
    found = told(Cluster(document(), workers=workers))
    assert (found.pending, found.freshness) == (None, None)
    assert (found.unknown["pending"], found.unknown["freshness"]) == (words, words)


def test_a_schedule_that_cannot_be_read_says_so() -> None:
    found = told(Cluster(document(spec={"schedule": "0 0 L * *"})))
    assert found.next_run is None
    assert "no field of a schedule" in found.unknown["nextRun"]


def test_workers_of_one_knowledge_base_are_asked_once_for_all_its_sources() -> None:
    cluster = Cluster(document(), document("wiki"), workers={"a": worker(lag=3)})
    found = sources_cluster.tell(cluster, None, now=NOW)
    assert [(each.name, each.pending) for each in found] == [("guides", 3), ("wiki", 3)]


class Display:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[Reading, str | None]] = []

    def tell(self, reading: Reading, what: str | None = None) -> None:
        """Take a reading."""
        self.seen.append((reading, what))


@pytest.mark.parametrize(
    ("spec", "words"),
    [({"push": {}, "s3": None}, "callers send its documents"), ({"suspend": True}, "spec.suspend is true")],
)
def test_a_source_that_is_not_run_is_not_asked(spec: dict[str, Any], words: str) -> None:
    cluster = Cluster(document(spec=spec))
    with pytest.raises(ConfigurationError, match=words):
        sources_sync.ask_cluster(cluster, "team", "guides", RunMode.SYNC)
    assert cluster.annotated == []


def test_a_source_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match="no IngestionSource wiki in namespace team; there are: guides"):
        sources_sync.ask_cluster(Cluster(document()), "team", "wiki", RunMode.FULL)


async def test_a_run_on_a_cluster_is_waited_for_until_the_operator_has_answered() -> None:
    cluster, display = Cluster(document(lastRun=RUN)), Display()

    async def moved_on(_: float) -> None:
        if cluster.asked == 2:
            cluster.bodies[0]["status"]["lastRun"] = {**RUN, "result": "Running"}
        if cluster.asked == 3:
            (asked,) = cluster.annotated[0].values()
            cluster.bodies[0]["status"] |= {"lastRun": {**RUN, "failed": 0}, "lastHandledFullResyncRequest": asked}

    run = await sources_sync.of_cluster(cluster, "team", "guides", RunMode.FULL, display, within=60, sleep=moved_on)
    assert (run.result, list(cluster.annotated[0])) == ("Succeeded", ["lectern.dev/full-resync-requested-at"])
    assert display.seen == [
        (Reading(0), "guides: waiting for its run"),
        (Reading(0), "guides: reading the source"),
    ]


class Up:
    """A running `lectern up` that goes through these states, one a look."""

    def __init__(self, *states: Source) -> None:
        self.states = list(states)

    async def sources(self) -> list[Source]:
        """Return the next state."""
        return [self.states.pop(0) if len(self.states) > 1 else self.states[0]]

    async def sync(self, name: str, mode: RunMode) -> int:
        """Take the request: the second run answers it."""
        return 2


def source(**more: Any) -> Source:
    return Source(namespace="default", name="guides", kind="git", knowledge_base="docs", phase="Running", **more)


async def no_sleep(_: float) -> None:
    """Go on at once."""


async def test_a_run_of_up_is_shown_until_all_that_it_said_is_indexed() -> None:
    run, display = Run.model_validate(RUN), Display()
    up = Up(
        source(finished_runs=1, last_run=run, running=Running(listed=9, done=4, failed=1), pending=0),
        source(finished_runs=2, last_run=run, pending=8),
        source(finished_runs=2, last_run=run, pending=None),
        source(finished_runs=2, last_run=run, pending=0),
    )
    found = await sources_sync.of_up(up, "guides", RunMode.SYNC, display, within=60, sleep=no_sleep)
    assert found == run
    assert display.seen == [
        (Reading(4, None, 1), "guides: reading the source"),
        (Reading(0, 8, 1), "guides: indexing"),
        (Reading(8, 8, 1), "guides: indexing"),
    ]
    assert sources_sync.told("guides", found) == (
        "IngestionSource/guides: run succeeded: 25 listed, 3 changed, 1 failed, 2 gone: a.md: TooLarge"
    )


async def test_waiting_has_an_end_and_the_run_goes_on() -> None:
    up = Up(source(finished_runs=1, running=Running(listed=9, done=4, failed=1)))
    with pytest.raises(DependencyError, match="has not ended after 0 s; it goes on"):
        await sources_sync.of_up(up, "guides", RunMode.SYNC, Display(), within=0, sleep=no_sleep)
