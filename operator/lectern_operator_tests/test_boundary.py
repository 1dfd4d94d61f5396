"""The border of a pass: what goes wrong becomes a condition or another pass, never the end of the operator."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lectern_contract.errors import DependencyError
from lectern_operator.clients.errors import Outdated
from lectern_operator.handlers.boundary import Boundary
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.queue import Retry
from lectern_operator.handlers.telemetry import Telemetry
from lectern_operator_tests import passes, worlds
from lectern_operator_tests.fake_cluster import FakeCluster


class Broken(FakeCluster):
    """A cluster that answers every list with `error`."""

    error: Exception = DependencyError("down", dependency="kubernetes", retry_after_seconds=7)

    async def children(self, kind: str, namespace: str, owner_uid: str) -> tuple[dict[str, Any], ...]:
        """Fail."""
        raise self.error


def boundary(cluster: FakeCluster) -> tuple[Boundary, Telemetry]:
    inventory, telemetry = Inventory(), Telemetry()
    inventory.seen(cluster.put(worlds.KNOWLEDGE_BASE))
    return Boundary(inventory, passes.world(cluster), telemetry, passes.nobody, passes.no_poke), telemetry


@pytest.mark.parametrize(
    ("error", "after", "result"),
    [
        (DependencyError("down", dependency="kubernetes", retry_after_seconds=7), 7, "failed"),
        (TimeoutError("slow"), None, "failed"),
        (Outdated("changed"), None, "outdated"),
        (KeyError("a defect"), None, "failed"),
    ],
)
async def test_an_error_of_the_world_or_of_ours_is_another_pass(
    error: Exception, after: float | None, result: str
) -> None:
    cluster = Broken()
    cluster.error = error
    border, telemetry = boundary(cluster)
    with pytest.raises(Retry) as retry:
        await border.pass_over("uid-kb")
    assert retry.value.after_seconds == after
    assert [each for each in cluster.writes if each[0] != "status"] == []
    value = telemetry.registry.get_sample_value(
        "lectern_operator_reconciles_total", {"kind": "KnowledgeBase", "result": result}
    )
    assert value == 1


async def test_a_defect_of_ours_is_told_in_the_status_once_and_without_its_words() -> None:
    cluster = Broken()
    cluster.error = KeyError("a secret")
    operator = passes.Operator(cluster)
    cluster.put(worlds.KNOWLEDGE_BASE)
    assert await operator.settle() == [("status", "KnowledgeBase", "docs")]
    found = operator.judged("KnowledgeBase", "docs")
    assert (found["Ready"], found["Stalled"][0], found["WorkersReady"][0]) == (
        ("Unknown", "Unknown"),
        "False",
        "Unknown",
    )
    said = operator.condition("KnowledgeBase", "docs", "Ready")["message"]
    assert "(KeyError)" in said
    assert "secret" not in said


async def test_a_status_that_is_out_of_date_is_not_written() -> None:
    cluster = FakeCluster()
    border, _ = boundary(cluster)
    cluster.edit("KnowledgeBase", "docs", {"metadata": {"annotations": {"a": "1"}}})
    with pytest.raises(Retry):
        await border.pass_over("uid-kb")
    assert "status" not in cluster.objects["KnowledgeBase", "team", "docs"]


async def test_what_is_gone_or_unknown_needs_no_pass() -> None:
    border, _ = boundary(FakeCluster())
    assert await border.pass_over("nobody") is None


async def test_one_line_is_logged_for_a_pass_and_no_settings(caplog: pytest.LogCaptureFixture) -> None:
    border, _ = boundary(FakeCluster())
    with caplog.at_level(logging.INFO, logger="lectern.operator"):
        await border.pass_over("uid-kb")
    (record,) = caplog.records
    assert record.__dict__["object"] == "team/docs"
    assert record.__dict__["result"] == "done"
