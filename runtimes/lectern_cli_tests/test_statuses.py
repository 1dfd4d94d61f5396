"""What a process that was observed says as status: unknown is unknown, and trouble has a name."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_cli import statuses
from lectern_cli.statuses import KnowledgeBaseState, Observed, SourceState
from lectern_cli_tests import laptop
from lectern_contract.resources import IngestionSource, KnowledgeBase, RagEndpoint, parse
from lectern_contract.resources.reasons import CONDITIONS
from lectern_contract.resources.status import DocumentCounts, LastRun

START, LATER = "2026-11-21T11:55:00Z", "2026-11-21T12:00:00Z"


def told(observed: Observed, *, now: str = START, source: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The three resources by kind, with their status."""
    kb, endpoint = parse(laptop.body("KnowledgeBase")), parse(laptop.body("RagEndpoint"))
    read = parse(laptop.body("IngestionSource", **(source or {})))
    assert isinstance(kb, KnowledgeBase)
    assert isinstance(read, IngestionSource)
    assert isinstance(endpoint, RagEndpoint)
    return {each["kind"]: each for each in statuses.tell(observed, [kb], [read], endpoint, now=now)}


def condition(document: dict[str, Any], aspect: str) -> tuple[str, str, str]:
    found = next(each for each in document["status"]["conditions"] if each["type"] == aspect)
    return found["status"], found["reason"], found["message"]


def observed(run: LastRun | None = None, **base: Any) -> Observed:
    state = KnowledgeBaseState(**{"active_generation": 1, "waiting": 0, **base})
    return Observed(START, "http://x", {"docs": state}, {"docs": SourceState(run)})


def run(result: str = "Succeeded", **more: Any) -> LastRun:
    return LastRun.model_validate({"startedAt": START, "result": result, **more})


def test_before_anything_is_known_nothing_is_said_to_be_ready() -> None:
    documents = told(Observed(START))

    assert {kind: condition(each, "Ready")[0] for kind, each in documents.items()} == dict.fromkeys(
        CONDITIONS, "Unknown"
    )
    assert "documents" not in documents["KnowledgeBase"]["status"]


def test_each_kind_shows_all_its_conditions_in_their_order() -> None:
    for kind, document in told(observed(run())).items():
        assert [each["type"] for each in document["status"]["conditions"]] == list(CONDITIONS[kind])


def test_once_all_is_worked_on_everything_is_ready_and_nothing_moves() -> None:
    documents = told(observed(run(listed=3)))

    assert {condition(each, "Ready")[0] for each in documents.values()} == {"True"}
    assert {condition(each, "Reconciling")[0] for each in documents.values()} == {"False"}
    assert documents["RagEndpoint"]["status"]["url"] == "http://x"


@pytest.mark.parametrize(
    ("last", "base", "wanted"),
    [
        (None, {}, ("Unknown", "NeverRun", "the first run has not begun")),
        (run("Running"), {}, ("Unknown", "Running", "a run is under way")),
        (run("Failed", message="gone"), {}, ("False", "RunFailed", "gone")),
        (run(), {"waiting": None}, ("Unknown", "Unknown", "the log has not been read yet")),
        (run(), {"waiting": 4}, ("False", "Progressing", "4 documents wait to be embedded")),
        (run(listed=3), {}, ("True", "RunSucceeded", "3 documents")),
        (
            run(listed=3, failed=1, message="a.md: TooLarge, it is"),
            {},
            ("False", "RunFailed", "1 of 3 documents were left behind and are tried again: a.md: TooLarge, it is"),
        ),
    ],
)
def test_a_source_is_synced_when_its_documents_are_in_the_index(
    last: LastRun | None, base: dict[str, Any], wanted: tuple[str, str, str]
) -> None:
    assert condition(told(observed(last, **base))["IngestionSource"], "Synced") == wanted


def test_a_suspended_source_says_how_to_go_on() -> None:
    status, reason, message = condition(told(observed(), source={"suspend": True})["IngestionSource"], "Synced")

    assert (status, reason) == ("Unknown", "Suspended")
    assert "spec.suspend" in message


def test_a_generation_that_is_built_is_told_beside_the_one_that_answers() -> None:
    document = told(observed(run(), active_generation=1, building_generation=2, waiting=7))["KnowledgeBase"]

    assert document["status"]["activeGeneration"] == 1
    assert condition(document, "Reconciling") == ("True", "Progressing", "generation 2 is being built; 7 messages wait")
    assert condition(document, "Ready")[0] == "True"


def test_documents_that_failed_are_counted_and_named() -> None:
    counts = DocumentCounts(indexed=2, failed=1)
    document = told(observed(run(), documents=counts, trouble="1 document could not be indexed: a.md (Empty)"))

    assert document["KnowledgeBase"]["status"]["documents"] == {"indexed": 2, "failed": 1}
    assert condition(document["KnowledgeBase"], "Ready")[2] == "1 document could not be indexed: a.md (Empty)"


def test_an_endpoint_names_the_bases_that_have_no_index() -> None:
    status, _, message = condition(told(observed(active_generation=None))["RagEndpoint"], "QueryReady")

    assert (status, message) == ("False", "no index yet: docs")


def test_a_condition_moves_its_clock_only_with_its_status() -> None:
    seen = observed()
    told(seen)
    seen.sources["docs"].last_run = run()

    conditions = told(seen, now=LATER)["IngestionSource"]["status"]["conditions"]

    moved = {each["type"] for each in conditions if each["lastTransitionTime"] == LATER}
    assert moved == {"Ready", "Synced", "Reconciling"}


@pytest.mark.parametrize(
    ("generations", "expected"),
    [({"retain": 3}, ("True", "AsSpecified")), ({"pinned": 1}, ("False", "FieldsNotRead"))],
)
def test_fields_that_this_mode_does_not_act_on_are_named(
    generations: dict[str, int], expected: tuple[str, str]
) -> None:
    kb = parse(laptop.body("KnowledgeBase", generations=generations))
    assert isinstance(kb, KnowledgeBase)

    found = statuses.spec_honored(kb)

    assert (found.status, found.reason) == expected
    assert ("spec.generations.pinned" in found.message) is ("pinned" in generations)
