"""The reranker in the life of a question: its order where it answers in time, and that of the searches where not.

The stub reranker is no model: it scores by a table of words, can be told to fail, and can be kept waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lectern_contract import settings as contract
from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_runtime.adapters import compose
from lectern_runtime.opening import Patience, Readiness
from lectern_runtime.query import __main__ as program
from lectern_runtime.query.rerank import FAILED, LATE
from lectern_runtime_tests.adapters import reranking_servers as doubles
from lectern_runtime_tests.query.conftest import RETURNS, SHIPPING
from lectern_runtime_tests.query.world import World, cached, calling, events_of, knowledge_base, query_settings
from lectern_runtime_tests.telemetry.spans import kept

QUESTION = "When is a refund paid to the card?"
AWAY = DependencyError("the reranker http://r cannot be reached; see that it runs", dependency="reranker")
NO_ONE = "http://127.0.0.1:9"
RETRIEVE, QUERY = ("/v1/retrieve", {"query": QUESTION}), ("/v1/query", {"question": QUESTION})


class StubReranker:
    """No model: a passage scores what the first word of `table` that it has says, and 0.1 without one."""

    def __init__(self, table: Mapping[str, float] | None = None, failure: Exception | None = None) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = False
        self._table = table or {}
        self._failure = failure

    async def scores(self, question: str, passages: Sequence[str]) -> Sequence[float]:
        self.asked.append((question, list(passages)))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self._failure is not None:
            raise self._failure
        return [next((score for word, score in self._table.items() if word in text), 0.1) for text in passages]

    async def close(self) -> None:
        """Nothing to release."""


def reranked(**changes: Any) -> contract.QuerySettings:
    """Settings of an endpoint with a reranker; its own fields may be changed by their names."""
    own = ("candidates", "deadline_milliseconds", "url", "protocol")
    mine = {name: changes.pop(name) for name in own if name in changes}
    return query_settings(reranker=doubles.settings(**{"url": NO_ONE, **mine}), **changes)


async def asked(world: World, settings: contract.QuerySettings, route: tuple[str, dict[str, Any]], **more: Any) -> Any:
    """The body of one answer of a new app."""
    path, body = route
    async with calling(world.app(settings)) as client:
        response = await client.post(path, json={**body, **more})
    assert response.status_code == 200
    return response.json()


def untimed(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "timings"}


def away() -> StubReranker:
    """One that cannot be reached."""
    return StubReranker(failure=AWAY)


def late() -> StubReranker:
    """One that never answers."""
    stub = StubReranker()
    stub.gate.clear()
    return stub


async def test_passages_come_in_the_order_of_the_reranker_with_its_scores(world: World) -> None:
    world.reranker = stub = StubReranker({"Parcels": 0.9, "refund": 0.4})
    body = await asked(world, reranked(), RETRIEVE)
    assert [(hit["uri"], hit["scores"]["rerank"]) for hit in body["hits"]] == [
        ("shipping.md", 0.9),
        ("returns.md", 0.4),
    ]
    assert (body["degraded"], body["degradations"]) == (False, [])
    assert stub.asked == [(QUESTION, [f"Returns\n{RETURNS}", f"Shipping\n{SHIPPING}"])]
    fused = [hit["scores"]["fused"] for hit in body["hits"]]
    assert fused == sorted(fused), "the other scores are those of the searches"


async def test_passages_with_equal_scores_stay_in_the_order_of_the_searches(world: World) -> None:
    world.reranker = StubReranker()
    body = await asked(world, reranked(), RETRIEVE)
    assert [hit["uri"] for hit in body["hits"]] == ["returns.md", "shipping.md"]


async def test_only_the_candidates_are_scored_and_the_others_stand_behind_them(world: World) -> None:
    for number in range(4):
        await world.put(f"card-{number}.md", f"A card of kind {number} is no refund.")
    before = await asked(world, query_settings(), RETRIEVE)
    order = [hit["uri"] for hit in before["hits"]]
    world.reranker = stub = StubReranker({before["hits"][1]["text"]: 0.8})
    body = await asked(world, reranked(candidates=3), RETRIEVE)
    assert [hit["uri"] for hit in body["hits"]] == [order[1], order[0], *order[2:]]
    assert [hit["scores"]["rerank"] for hit in body["hits"]] == [0.8, 0.1, 0.1, None, None]
    assert [len(texts) for _, texts in stub.asked] == [3]


async def test_a_passage_that_the_searches_put_far_down_can_come_first(world: World) -> None:
    for number in range(30):
        await world.put(f"many-{number}.md", "A refund is paid to the card. " * (30 - number) + f"Note {number}.")
    world.reranker = stub = StubReranker({"Parcels": 0.9})
    first = (await asked(world, reranked(), RETRIEVE))["hits"][0]
    without = await asked(world, query_settings(), RETRIEVE, top_k=10)
    assert (first["uri"], len(stub.asked[0][1])) == ("shipping.md", 32)
    assert "shipping.md" not in [hit["uri"] for hit in without["hits"]]


async def test_the_reranker_changes_what_is_cited_and_not_whether_it_is_answered(world: World) -> None:
    await world.put("cards.md", "A refund is paid to the gift card at once.")
    without = await asked(world, query_settings(), QUERY, top_k=1)
    world.reranker = StubReranker({"gift": 0.9 if without["citations"][0]["uri"] != "cards.md" else 0.0})
    body = await asked(world, reranked(), QUERY, top_k=1)
    assert body["citations"][0]["uri"] != without["citations"][0]["uri"]
    assert body["citations"][0]["scores"]["rerank"] is not None
    assert (body["confidence"], body["refused"]) == (without["confidence"], False)


@pytest.mark.parametrize("mode", ["Hybrid", "Dense", "Sparse"])
async def test_support_is_judged_on_the_same_passages_with_a_reranker_and_without(world: World, mode: str) -> None:
    await world.index("manuals")
    for number in range(60):
        kb = ("guides", "manuals")[number % 2]
        await world.put(
            f"many-{number}.md", "A refund is paid to the card. " * (1 + number % 7) + f"Note {number}.", kb=kb
        )
    bases = {"knowledge_bases": (knowledge_base(), knowledge_base("manuals")), "mode": mode}
    without = await asked(world, query_settings(**bases), QUERY)
    world.reranker = stub = StubReranker({"Note 3.": 0.9})
    body = await asked(world, reranked(**bases), QUERY)
    assert (body["confidence"], body["refused"]) == (without["confidence"], False)
    assert body["citations"][0]["uri"] == "many-3.md"
    assert len(stub.asked[0][1]) == 50


async def test_a_bad_score_is_no_refusal_and_a_good_one_no_answer(world: World) -> None:
    world.reranker = StubReranker({"refund": 0.0})
    assert (await asked(world, reranked(), QUERY))["refused"] is False
    world.reranker = StubReranker({"Parcels": 1.0})
    body = await asked(world, reranked(), ("/v1/query", {"question": "Who composed the opera about Troy?"}))
    assert body["refused"] is True


@pytest.mark.parametrize("route", [RETRIEVE, QUERY], ids=["retrieve", "query"])
@pytest.mark.parametrize(
    ("stub", "settings", "degradation"),
    [(away, {}, FAILED), (late, {"deadline_milliseconds": 20}, LATE)],
    ids=["away", "late"],
)
async def test_without_its_answer_the_order_of_the_searches_stands_and_that_is_said(
    world: World,
    route: tuple[str, dict[str, Any]],
    stub: Callable[[], StubReranker],
    settings: dict[str, Any],
    degradation: str,
) -> None:
    without = await asked(world, query_settings(), route)
    world.reranker = stub()
    body = await asked(world, reranked(**settings), route)
    assert untimed(body) == {**untimed(without), "degraded": True, "degradations": [degradation]}
    assert set(body["timings"]) == {*without["timings"], "rerank"}


async def test_a_late_one_is_given_up_at_its_deadline(world: World) -> None:
    world.reranker = stub = late()
    async with asyncio.timeout(20):
        body = await asked(world, reranked(deadline_milliseconds=50), RETRIEVE)
    assert stub.cancelled
    assert 49 <= body["timings"]["rerank"] < 5_000


@pytest.mark.parametrize("protocol", ["TEI", "Vllm"])
@pytest.mark.parametrize(
    "fault",
    [
        (200, b"<html>", {}),
        (200, [{"index": 0, "score": float("nan")}, {"index": 1, "score": 0.5}], {}),
        (200, {"results": [{"index": 5, "relevance_score": 0.5}, {"index": 1, "relevance_score": 0.5}]}, {}),
        (200, [], {}),
        (429, {"error": "Model is overloaded", "error_type": "Overloaded"}, {"retry-after": "5"}),
        (500, b"", {}),
    ],
    ids=["garbage", "not a number", "unknown index", "none", "overloaded", "broken"],
)
async def test_a_server_that_answers_wrong_costs_the_order_and_nothing_else(
    world: World, protocol: str, fault: tuple[int, Any, dict[str, str]]
) -> None:
    without = await asked(world, query_settings(), RETRIEVE)
    with doubles.running(doubles.tei if protocol == "TEI" else doubles.vllm) as server:
        settings = reranked(url=server.url, protocol=protocol)
        assert settings.reranker is not None
        world.reranker = compose.open_reranker(settings.reranker)
        right = await asked(world, settings, RETRIEVE)
        server.faults.append(fault)
        body = await asked(world, settings, RETRIEVE)
        await world.reranker.close()
    assert right["degraded"] is False
    assert right["hits"][0]["scores"]["rerank"] == doubles.relevance(QUESTION, f"Returns\n{RETURNS}")
    assert untimed(body) == {**untimed(without), "degraded": True, "degradations": [FAILED]}


@pytest.mark.parametrize("route", [RETRIEVE, QUERY], ids=["retrieve", "query"])
async def test_an_endpoint_without_a_reranker_asks_none(world: World, route: tuple[str, dict[str, Any]]) -> None:
    without = await asked(world, query_settings(), route)
    world.reranker = stub = StubReranker({"Parcels": 1.0})
    assert untimed(await asked(world, query_settings(), route)) == untimed(without)
    assert "rerank" not in without["timings"]
    assert stub.asked == []


async def test_where_nothing_is_found_nothing_is_asked(empty_world: World) -> None:
    await empty_world.index()
    empty_world.reranker = stub = StubReranker()
    body = await asked(empty_world, reranked(), RETRIEVE)
    assert (body["hits"], body["degraded"], stub.asked) == ([], False, [])


async def test_an_answer_in_the_order_of_the_searches_is_not_kept(world: World) -> None:
    world.reranker = stub = away()
    app = world.app(reranked(cache=cached()))
    async with calling(app) as client, asyncio.timeout(20):
        while not app.state.runtime.pipeline.cache.usable:
            await asyncio.sleep(0.005)
        tiers = [(await client.post("/v1/query", json={"question": QUESTION})).json()["cache"] for _ in range(2)]
    assert (tiers, len(stub.asked)) == (["miss", "miss"], 2)


async def test_a_streamed_answer_says_it_too(world: World) -> None:
    world.reranker = away()
    async with calling(world.app(reranked())) as client:
        response = await client.post("/v1/query", json={"question": QUESTION, "stream": True})
    outcome = next(data for _, data in reversed(events_of(response.text)) if "degradations" in data)
    assert (outcome["degraded"], outcome["degradations"]) == (True, [FAILED])


async def test_the_service_is_ready_without_it(world: World) -> None:
    world.reranker = away()
    async with calling(world.app(reranked())) as client:
        await client.post("/v1/query", json={"question": QUESTION})
        assert (await client.get("/readyz")).status_code == 200


async def test_its_time_is_told_counted_and_traced(world: World) -> None:
    world.reranker = StubReranker()
    with kept() as spans:
        async with calling(world.app(reranked())) as client:
            response = await client.post("/v1/retrieve", json={"query": QUESTION})
            metrics = (await client.get("/metrics")).text
    assert "rerank;dur=" in response.headers["server-timing"]
    assert 'rag_stage_duration_seconds_count{stage="rerank"} 1.0' in metrics
    call = spans.one(f"rerank {doubles.MODEL}")
    assert spans.parent(call) == "rerank"
    assert dict(call.attributes or {}) == {
        "gen_ai.operation.name": "rerank",
        "gen_ai.provider.name": "lectern",
        "gen_ai.request.model": doubles.MODEL,
        "lectern.passages": 2,
    }


async def test_a_failure_is_logged_with_its_next_step_and_no_text(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.reranker = away()
    with kept() as spans:
        await asked(world, reranked(), QUERY)
    assert [each.getMessage() for each in caplog.records if each.name.endswith("query.rerank")] == [
        f"{AWAY}; the order of the searches stands"
    ]
    assert dict(spans.one("rerank").attributes or {}) == {
        "lectern.degraded": FAILED,
        "error.type": "NotReranked",
    }


async def test_settings_that_ask_for_one_need_one(world: World) -> None:
    with pytest.raises(ConfigurationError, match=r"RagEndpoint/desk: spec\.reranker is set"):
        world.app(reranked())


async def test_the_program_opens_the_reranker_of_its_settings_and_closes_it(tmp_path: Path) -> None:
    server = contract.ModelServerSettings(url=NO_ONE, protocol="TEI", api_key_file=None, ca_file=None)
    base = knowledge_base()
    elsewhere = base.model_copy(update={"embedder": base.embedder.model_copy(update={"source": server})})
    with doubles.running(doubles.tei) as double:
        settings = reranked(url=double.url, knowledge_bases=(elsewhere,))
        async with contextlib.AsyncExitStack() as stack:
            services = await program._open(
                settings, tmp_path / "data", CollectorRegistry(), Patience(Readiness()), stack
            )
            assert services.reranker is not None
            assert await services.reranker.scores("a b", ["a", "c"]) == [0.5, 0.0]
        with pytest.raises(DependencyError, match="was closed"):
            await services.reranker.scores("a b", ["a"])
