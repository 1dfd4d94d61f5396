"""What `/v1/query` and `/v1/retrieve` answer."""

from __future__ import annotations

import pytest

from lectern_contract import names
from lectern_contract.settings import QuerySettings
from lectern_runtime.errors import StoreError
from lectern_runtime.ports import AnswerPiece, CitedSpan
from lectern_runtime.query.pipeline import REFUSAL
from lectern_runtime_tests.query.conftest import RETURNS
from lectern_runtime_tests.query.world import World, calling, knowledge_base, query_settings

QUESTION = {"question": "When is a refund paid to the card?"}


async def test_answer_is_the_documents_own_sentence_with_its_citation(world: World) -> None:
    async with calling(world.app()) as client:
        response = await client.post("/v1/query", json=QUESTION)
    body = response.json()
    (citation,) = body["citations"]
    assert response.status_code == 200
    assert body["answer"] == "A refund is paid to the original card within five working days. [1]"
    assert (body["refused"], body["degraded"], body["cache"]) == (False, False, "off")
    assert body["confidence"] > 0.4
    assert (citation["uri"], citation["number"], citation["partition"]) == ("returns.md", 1, "acme/public")
    assert (citation["knowledge_base"], citation["generation"]) == ("guides", 1)
    assert citation["text"] == RETURNS
    assert [RETURNS[span["start"] : span["end"]] for span in citation["spans"]] == [
        "A refund is paid to the original card within five working days."
    ]
    assert list(body["timings"]) == ["resolve", "embed", "retrieve", "judge", "generate", "total"]
    assert response.headers["server-timing"].startswith("resolve;dur=")


@pytest.mark.parametrize("question", ["What is the capital of Australia?", "zzzz qqqq", "?", "the of and"])
async def test_unsupported_question_is_refused_without_asking_the_generator(world: World, question: str) -> None:
    async with calling(world.app()) as client:
        body = (await client.post("/v1/query", json={"question": question})).json()
    assert (body["answer"], body["refused"], body["citations"]) == (REFUSAL, True, [])
    assert body["confidence"] < 0.4
    assert world.generator.requests == []


async def test_an_empty_index_refuses(empty_world: World) -> None:
    await empty_world.index()
    async with calling(empty_world.app()) as client:
        body = (await client.post("/v1/query", json=QUESTION)).json()
    assert (body["refused"], body["confidence"]) == (True, 0.0)


async def test_citations_outside_the_passages_are_taken_out(world: World) -> None:
    world.generator.extra = (
        AnswerPiece(" More [7] here [1].", (CitedSpan(7, 0, 3), CitedSpan(1, 5, 5000), CitedSpan(1, 9, 9))),
    )
    async with calling(world.app()) as client:
        body = (await client.post("/v1/query", json=QUESTION)).json()
    assert body["answer"].endswith("[1] More here [1].")
    assert [(each["number"], len(each["spans"])) for each in body["citations"]] == [(1, 1)]


async def test_an_answer_without_a_single_valid_citation_is_a_refusal(world: World) -> None:
    async def inventing(_: object) -> object:
        yield AnswerPiece("The moon is made of cheese.", (CitedSpan(99, 0, 5),))

    world.generator.generate = inventing  # type: ignore[method-assign, assignment]  # a generator that makes things up
    async with calling(world.app()) as client:
        body = (await client.post("/v1/query", json=QUESTION)).json()
    assert (body["answer"], body["refused"]) == (REFUSAL, True)


async def test_retrieve_gives_hits_best_first_with_every_score(world: World) -> None:
    async with calling(world.app()) as client:
        body = (await client.post("/v1/retrieve", json={"query": "refund card", "top_k": 2})).json()
    first, second = body["hits"]
    assert (first["uri"], second["uri"]) == ("returns.md", "shipping.md")
    assert first["scores"]["dense"] > second["scores"]["dense"]
    assert first["scores"]["sparse"] > 0
    assert first["scores"]["rerank"] is None
    assert first["scores"]["fused"] > second["scores"]["fused"]
    assert (first["start"], first["end"], first["section"], first["page"]) == (0, len(RETURNS), "Returns", None)
    assert set(body["timings"]) == {"resolve", "embed", "retrieve", "total"}


async def test_top_k_bounds_the_passages_that_the_generator_is_given(world: World) -> None:
    async with calling(world.app()) as client:
        await client.post("/v1/query", json={**QUESTION, "top_k": 1})
    (request,) = world.generator.requests
    assert [(passage.number, passage.title) for passage in request.passages] == [(1, "Returns > Returns")]


@pytest.mark.parametrize("mode", ["Hybrid", "Dense", "Sparse"])
async def test_every_mode_answers(world: World, mode: str) -> None:
    async with calling(world.app(query_settings(mode=mode))) as client:
        body = (await client.post("/v1/query", json=QUESTION)).json()
    assert (body["refused"], body["citations"][0]["uri"]) == (False, "returns.md")
    assert bool(world.embedder.calls) == (mode != "Sparse")


async def test_a_question_longer_than_the_model_reads_is_answered_and_flagged(world: World) -> None:
    long = "When is a refund paid to the card? " * 60
    async with calling(world.app()) as client:
        body = (await client.post("/v1/query", json={"question": long})).json()
    assert (body["degraded"], body["degradations"]) == (True, ["question_cut_for_embedding"])
    assert body["citations"][0]["uri"] == "returns.md"


async def test_without_an_index_the_endpoint_says_that_it_is_not_ready(empty_world: World) -> None:
    async with calling(empty_world.app()) as client:
        response = await client.post("/v1/query", json=QUESTION)
    assert (response.status_code, response.json()["code"]) == (503, "index_not_ready")
    assert response.headers["retry-after"] == "5"


class TestSeveralKnowledgeBases:
    @pytest.fixture
    def settings(self) -> QuerySettings:
        return query_settings(
            knowledge_bases=(knowledge_base("guides"), knowledge_base("manuals", filterable_fields=("product",)))
        )

    async def test_one_order_over_all_with_one_embedding(self, world: World, settings: QuerySettings) -> None:
        await world.index("manuals")
        await world.put("drill.md", "Hold the drill with both hands. Refund of the card is not covered.", kb="manuals")
        async with calling(world.app(settings)) as client:
            body = (await client.post("/v1/retrieve", json={"query": "refund paid to original card"})).json()
        assert [(hit["knowledge_base"], hit["uri"]) for hit in body["hits"]][:2] == [
            ("guides", "returns.md"),
            ("manuals", "drill.md"),
        ]
        assert len(world.embedder.calls) == 1

    async def test_one_without_an_index_is_left_out_and_flagged(self, world: World, settings: QuerySettings) -> None:
        async with calling(world.app(settings)) as client:
            body = (await client.post("/v1/query", json=QUESTION)).json()
            ready = await client.get("/readyz")
        assert (body["refused"], body["degradations"]) == (False, ["no_index:manuals"])
        assert ready.status_code == 200
        assert {each["name"]: each["ready"] for each in ready.json()["components"]}["index/manuals"] is False

    async def test_one_that_fails_is_left_out_and_flagged(
        self, world: World, settings: QuerySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = await world.index("manuals")
        search = world.store.search

        async def failing(collection: str, *args: object) -> object:
            if collection == broken:
                raise StoreError("disk on fire at /secret/path")
            return await search(collection, *args)  # type: ignore[arg-type]  # handed through

        monkeypatch.setattr(world.store, "search", failing)
        async with calling(world.app(settings)) as client:
            body = (await client.post("/v1/query", json=QUESTION)).json()
        assert body["degradations"] == ["not_searched:manuals"]
        assert body["citations"][0]["uri"] == "returns.md"


async def test_a_generation_switch_in_the_middle_of_a_request_is_followed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = world.store.search
    switched = False

    async def switching(*args: object) -> object:
        nonlocal switched
        if not switched:
            switched = True
            await world.index(generation=2)
            await world.put("returns.md", RETURNS, version=2)
            await world.store.drop_collection(names.collection("ns", "guides", 1))
        return await search(*args)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(world.store, "search", switching)
    async with calling(world.app()) as client:
        body = (await client.post("/v1/query", json=QUESTION)).json()
    assert [each["generation"] for each in body["citations"]] == [2]


async def test_a_failing_store_tells_the_caller_nothing_of_its_insides(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object) -> object:
        raise StoreError("disk on fire at /secret/path")

    monkeypatch.setattr(world.store, "search", failing)
    async with calling(world.app()) as client:
        response = await client.post("/v1/query", json=QUESTION)
    assert (response.status_code, response.json()["code"]) == (503, "dependency_unavailable")
    assert "fire" not in response.text
    assert response.headers["retry-after"] == "5"
