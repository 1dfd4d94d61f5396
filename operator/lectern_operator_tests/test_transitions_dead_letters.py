"""Documents of a source in its status: what the catalogue has, which are given up, and what is told of it."""

from __future__ import annotations

from typing import Any

from lectern_contract.resources.status import Condition
from lectern_operator.policies import transitions
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.passes import Operator

KIND, COLLECTION, BY = "IngestionSource", "team.docs.g1", "TenantAndAccessLevel"
WIKI = {**worlds.SOURCE, "metadata": {**worlds.SOURCE["metadata"], "name": "wiki", "uid": "uid-wiki"}}


async def settled(*sources: dict[str, Any]) -> Operator:
    """An operator whose knowledge base has a collection, with these sources."""
    cluster = FakeCluster()
    fixed = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1)
    for each in (fixed, *(sources or (worlds.SOURCE,))):
        cluster.put(each)
    found = Operator(cluster)
    await found.settle()
    cluster.roll_out_all()
    await found.look()
    await found.settle()
    return found


def store(operator: Operator) -> Any:
    """The Qdrant server of the tests."""
    return operator.outside.stores.servers["http://qdrant:6333"]


def told(operator: Operator, name: str = "guides") -> tuple[Any, Any]:
    """What the status of a source says of documents and of dead letters."""
    status = operator.status(KIND, name)
    return status.get("documents"), status.get("deadLetter")


def events(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """The Events of a change of conditions."""
    found = transitions.transitions(map(Condition.model_validate, before), map(Condition.model_validate, after))
    return [(each.type, each.aspect, each.status, each.reason) for each in found]


async def test_a_source_without_documents_has_none_and_no_letter() -> None:
    source = await settled()
    assert told(source) == ({"indexed": 0, "failed": 0}, {"count": 0, "lastReason": ""})
    assert source.judged(KIND, "guides")["DocumentsIndexed"] == ("True", "NoDeadLetters")


async def test_each_source_says_what_is_its_own() -> None:
    source = await settled(worlds.SOURCE, WIKI)
    store(source).write(COLLECTION, "acme", "public", 12, by=BY)
    store(source).write(COLLECTION, "acme", "public", 3, by=BY, source="wiki")
    store(source).write(COLLECTION, "acme", "public", 2, by=BY, source="wiki", failure="Encrypted: a password is asked")
    store(source).write(COLLECTION, "acme", "public", 4, by=BY, source="removed")
    await source.settle()
    assert told(source) == ({"indexed": 12, "failed": 0}, {"count": 0, "lastReason": ""})
    assert told(source, "wiki") == (
        {"indexed": 3, "failed": 2},
        {"count": 2, "since": "2026-11-21T00:02:00Z", "lastReason": "Encrypted"},
    )
    assert source.status("KnowledgeBase", "docs")["sourceCount"] == 3
    assert source.judged(KIND, "wiki")["Ready"] == source.judged(KIND, "guides")["Ready"], "letters take no readiness"


async def test_letters_that_come_and_go_are_one_event_each() -> None:
    source = await settled()
    quiet = source.status(KIND, "guides")["conditions"]
    store(source).write(COLLECTION, "acme", "public", 1, by=BY, failure="Encrypted")
    await source.settle()
    first = source.status(KIND, "guides")
    store(source).write(COLLECTION, "acme", "public", 1, by=BY, failure="TooLarge: 60 MB")
    await source.settle()
    second = source.status(KIND, "guides")
    store(source).mend(COLLECTION, "guides")
    await source.settle()
    third = source.status(KIND, "guides")
    assert events(quiet, first["conditions"]) == [("Warning", "DocumentsIndexed", "False", "DeadLettersOpen")]
    assert events(first["conditions"], second["conditions"]) == []
    assert events(second["conditions"], third["conditions"]) == [
        ("Normal", "DocumentsIndexed", "True", "NoDeadLetters")
    ]
    since = first["deadLetter"]["since"]
    assert second["deadLetter"] == {"count": 2, "since": since, "lastReason": "TooLarge"}
    assert third["deadLetter"] == {"count": 0, "lastReason": ""}
    message = next(each["message"] for each in second["conditions"] if each["type"] == "DocumentsIndexed")
    assert message == (
        "2 documents are given up (lately: TooLarge); to see which: kubectl exec -n team deploy/docs-worker -- python "
        "-m lectern_runtime.maintain list --source guides"
    )


async def test_a_store_that_is_away_changes_nothing_of_what_is_told() -> None:
    source = await settled()
    store(source).write(COLLECTION, "acme", "public", 5, by=BY, failure="Encrypted")
    await source.settle()
    before = told(source)
    store(source).silent = True
    await source.settle()
    assert told(source) == before


async def test_what_nobody_knows_is_left_out() -> None:
    cluster = FakeCluster()
    cluster.put(worlds.KNOWLEDGE_BASE)
    cluster.put(worlds.SOURCE)
    source = Operator(cluster)
    store(source).silent = True
    await source.settle()
    assert told(source) == (None, None)
    assert source.judged(KIND, "guides")["DocumentsIndexed"] == ("Unknown", "Unknown")


async def test_a_time_that_somebody_forged_is_set_anew() -> None:
    source = await settled()
    store(source).write(COLLECTION, "acme", "public", 1, by=BY, failure="Encrypted")
    await source.settle()
    body = source.cluster.objects["KnowledgeBase", "team", "docs"]
    body["status"]["sources"][0]["failedSince"] = "2999-01-01T00:00:00Z"
    source.cluster.edit("KnowledgeBase", "docs", {"metadata": {"annotations": {"touched": "yes"}}})
    await source.settle()
    _, letters = told(source)
    assert letters["since"].startswith("2026-11-21T00:")


async def test_of_more_sources_than_a_status_names_the_others_say_that_nobody_knows() -> None:
    source = await settled()
    for number in range(101):
        store(source).write(COLLECTION, "acme", "public", 1, by=BY, source=f"a{number:03}")
    store(source).write(COLLECTION, "acme", "public", 1, by=BY)
    await source.settle()
    status = source.status("KnowledgeBase", "docs")
    assert (len(status["sources"]), status["sourceCount"]) == (100, 102)
    assert told(source) == (None, None)
