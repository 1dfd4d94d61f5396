"""Bad input to an IngestionSource: a run that somebody wrote into the status starts nothing without end."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lectern_operator_tests.test_transitions_runs import KIND, Source, ran

NOWHERE = ("http://[", "http://a:b:c/", "http://127.0.0.1:99999/", "http://a..b/", "https://~")
REPOSITORIES = ("https://[", "ssh://[", "git@[:x", "ssh://a:99999/x", "https://a:99999/x", "git@:::")
ADDRESSES = [
    *({"http": {"urls": [url]}} for url in NOWHERE),
    *({"git": {"url": url}} for url in REPOSITORIES),
    *({"s3": {"bucket": "bucket", "endpoint": url}} for url in NOWHERE),
]


@pytest.mark.parametrize(
    "forged",
    [
        {"startedAt": "2099-01-01T00:00:00Z", "job": "none", "settingsHash": "other"},
        {"startedAt": "Z00:00:00T12-11-6202", "job": "none", "settingsHash": "other"},
        {"startedAt": "", "job": "none", "result": "Failed"},
    ],
    ids=["in the future", "no time", "empty"],
)
async def test_a_last_run_that_cannot_have_been_is_replaced_by_the_newest_job(forged: dict[str, Any]) -> None:
    source = await ran()
    before = copy.deepcopy(source.status())
    written = {**before["lastRun"], **forged}
    source.cluster.edit(KIND, "guides", {"status": {"lastRun": written, "lastReplay": {**written, "mode": "Replay"}}})
    await source.settle()
    assert source.running() == []
    assert len(source.jobs()) == 1
    assert source.status() == before


async def test_a_last_run_that_may_have_been_costs_one_run_and_no_more() -> None:
    source = await ran()
    last = copy.deepcopy(source.status()["lastRun"])
    forged = {**last, "startedAt": "2026-11-21T01:20:00Z", "job": "none", "settingsHash": "other"}
    source.cluster.edit(KIND, "guides", {"status": {"lastRun": forged}})
    await source.operator.look()  # in the double of the cluster every Job is made at midnight, before the forged one
    assert len(source.running()) == 1
    source.finish(listed=3)
    await source.settle()
    assert source.running() == []
    assert source.synced()[:2] == ("True", "RunSucceeded")


@pytest.mark.parametrize("where", ADDRESSES, ids=str)
async def test_an_address_that_leads_nowhere_is_left_for_the_run_to_tell(where: dict[str, Any]) -> None:
    source = Source(persistentVolume=None, **where)
    await source.settle()
    assert source.synced()[:2] == ("Unknown", "Running")
    source.finish(succeeded=False)
    await source.settle()
    assert source.synced()[:2] == ("False", "RunFailed")
