"""The reranker adapters: the contract over doubles, and over a real server that the environment names; faults.

RERANKER_URL names a real one, RERANKER_PROTOCOL (TEI or Vllm) and RERANKER_MODEL what it is.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lectern_contract.errors import DependencyError
from lectern_runtime.adapters import compose
from lectern_runtime.ports import Reranker
from lectern_runtime_tests.adapters import reranking_servers as doubles
from lectern_runtime_tests.adapters.embedding_servers import EmbeddingServer
from lectern_runtime_tests.contracts.rerank_contract import RerankContract

QUESTION = "refund to the card"
TEXTS = [f"passage {number} of a refund" for number in range(9)]
PROTOCOLS: dict[str, Any] = {"TEI": doubles.tei, "Vllm": doubles.vllm}
ROUTES = {"TEI": "/rerank", "Vllm": "/v1/rerank"}


class DoubledRerankContract(RerankContract):
    """The contract over a double of `protocol`."""

    protocol: str

    @pytest.fixture
    async def reranker(self) -> AsyncIterator[Reranker]:
        with doubles.running(PROTOCOLS[self.protocol]) as server:
            opened = compose.open_reranker(doubles.settings(server.url, protocol=self.protocol))
            yield opened
            await opened.close()


class TestTeiDouble(DoubledRerankContract):
    """Text Embeddings Inference."""

    protocol = "TEI"


class TestVllmDouble(DoubledRerankContract):
    """vLLM."""

    protocol = "Vllm"


if "RERANKER_URL" in os.environ:

    class TestRealServer(RerankContract):
        """The server that the environment names."""

        @pytest.fixture
        async def reranker(self) -> AsyncIterator[Reranker]:
            named = {key: os.environ.get(f"RERANKER_{key.upper()}", value) for key, value in _UNNAMED.items()}
            opened = compose.open_reranker(doubles.settings(os.environ["RERANKER_URL"], **named))
            yield opened
            await opened.close()

    _UNNAMED = {"protocol": "TEI", "model": "BAAI/bge-reranker-base"}


@pytest.fixture(params=list(PROTOCOLS))
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(protocol: str) -> Iterator[EmbeddingServer]:
    with doubles.running(PROTOCOLS[protocol]) as running:
        yield running


@pytest.fixture
async def reranker(server: EmbeddingServer, protocol: str) -> AsyncIterator[Reranker]:
    """A reranker that has been used: a TEI's limits are known."""
    opened = compose.open_reranker(doubles.settings(server.url, protocol=protocol))
    await opened.scores("warm", ["warm"])
    server.asked.clear()
    yield opened
    await opened.close()


async def test_tei_is_asked_in_batches_that_it_takes_and_told_to_cut() -> None:
    with doubles.running(doubles.tei) as server:
        opened = compose.open_reranker(doubles.settings(server.url))
        await opened.scores(QUESTION, TEXTS)
        await opened.close()
    bodies = sorted((body for path, body in server.asked if path == "/rerank"), key=lambda body: str(body["texts"]))
    shared = {"query": QUESTION, "raw_scores": False, "return_text": False}
    cut = {"truncate": True, "truncation_direction": "Right"}
    assert bodies == [{**shared, **cut, "texts": texts} for texts in (TEXTS[:4], TEXTS[4:8], TEXTS[8:])]
    assert server.asked[0][0] == "/info"
    assert len(server.asked) == 4


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_vllm_is_asked_once_at_the_path_that_its_key_guards(suffix: str) -> None:
    with doubles.running(doubles.vllm) as server:
        opened = compose.open_reranker(doubles.settings(f"{server.url}{suffix}", protocol="Vllm"))
        await opened.scores(QUESTION, TEXTS)
        await opened.close()
    asked = {"model": doubles.MODEL, "query": QUESTION, "documents": TEXTS, "top_n": 0}
    assert server.asked == [("/v1/rerank", {**asked, "truncate_prompt_tokens": -1, "use_activation": True})]


async def test_a_server_that_came_back_with_smaller_batches_is_asked_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    with doubles.running(doubles.tei) as server:
        opened = compose.open_reranker(doubles.settings(server.url))
        await opened.scores(QUESTION, TEXTS[:1])
        monkeypatch.setattr(doubles, "MOST_TEXTS", 2)
        scores = await opened.scores(QUESTION, TEXTS[:4])
        await opened.scores(QUESTION, TEXTS[:4])
        await opened.close()
    assert scores == [doubles.relevance(QUESTION, text) for text in TEXTS[:4]]
    sizes = [len(body["texts"]) if path == "/rerank" else path for path, body in server.asked]
    assert sizes == ["/info", 1, 4, 2, 2, "/info", 2, 2]


def answer(protocol: str, *pairs: tuple[Any, Any]) -> Any:
    """What a server of `protocol` answers with these indices and scores."""
    if protocol == "TEI":
        return [{"index": index, "score": score} for index, score in pairs]
    return {"results": [{"index": index, "relevance_score": score} for index, score in pairs]}


ONCE = "does not score each of 2 passages once"
FINITE = "no finite number"
GARBAGE: list[tuple[str, list[tuple[Any, Any]], str]] = [
    ("too few", [(0, 0.5)], ONCE),
    ("too many", [(0, 0.5), (1, 0.5), (2, 0.5)], ONCE),
    ("one twice", [(0, 0.5), (0, 0.4)], ONCE),
    ("an index beyond", [(0, 0.5), (7, 0.5)], ONCE),
    ("an index below", [(0, 0.5), (-1, 0.5)], ONCE),
    ("an index of text", [(0, 0.5), ("1", 0.5)], ONCE),
    ("a true index", [(0, 0.5), (True, 0.5)], ONCE),
    ("no index", [(0, 0.5), (None, 0.5)], ONCE),
    ("not a number", [(0, 0.5), (1, float("nan"))], FINITE),
    ("infinite", [(0, 0.5), (1, float("inf"))], FINITE),
    ("text for a score", [(0, 0.5), (1, "0.5")], FINITE),
    ("no score", [(0, 0.5), (1, None)], FINITE),
    ("a logit", [(0, 0.5), (1, 4.2)], "outside of 0 to 1"),
    ("a negative logit", [(0, 0.5), (1, -0.1)], "outside of 0 to 1"),
]


@pytest.mark.parametrize(("pairs", "cause"), [each[1:] for each in GARBAGE], ids=[each[0] for each in GARBAGE])
async def test_scores_that_cannot_be_are_an_error(
    server: EmbeddingServer, reranker: Reranker, protocol: str, pairs: list[tuple[Any, Any]], cause: str
) -> None:
    server.faults.append((200, answer(protocol, *pairs), {}))
    with pytest.raises(DependencyError, match=cause) as caught:
        await reranker.scores(QUESTION, TEXTS[:2])
    assert caught.value.dependency == "reranker"
    assert str(caught.value).startswith(f"the reranker {server.url} ")


@pytest.mark.parametrize("reply", [b"<html>", b"", [1, 2], ["a", "b"], {}, None, 7, [{"index": 0}, {"index": 1}]])
async def test_another_protocol_is_an_error(server: EmbeddingServer, reranker: Reranker, reply: Any) -> None:
    server.faults.append((200, reply, {}))
    with pytest.raises(DependencyError, match=r"check .*spec\.reranker\.server"):
        await reranker.scores(QUESTION, TEXTS[:2])


REFUSALS = [
    (401, "refuses the API key .*; correct the Secret of spec.reranker.server"),
    (404, "has no {path} .*; check the URL and the protocol of spec.reranker.server"),
    (413, "refuses a passage by itself .*; check that spec.reranker.model is a reranker"),
    (422, "refuses a passage by itself .*; check that spec.reranker.model is a reranker"),
    (418, "refuses {path} .*; check spec.reranker and its log"),
    (424, "cannot answer now .*; see its load and log"),
    (500, "cannot answer now .*; see its load and log"),
]


@pytest.mark.parametrize(("status", "sentence"), REFUSALS)
async def test_each_status_has_its_sentence(
    server: EmbeddingServer, reranker: Reranker, protocol: str, status: int, sentence: str
) -> None:
    server.faults.append((status, {"error": "no"}, {}))
    with pytest.raises(DependencyError, match=sentence.format(path=ROUTES[protocol])):
        await reranker.scores(QUESTION, TEXTS[:1])


@pytest.mark.parametrize("status", [429, 503])
async def test_the_pause_that_an_overloaded_server_asks_for_is_kept(
    server: EmbeddingServer, reranker: Reranker, status: int
) -> None:
    server.faults.append((status, {"error": "Model is overloaded", "error_type": "Overloaded"}, {"retry-after": "7"}))
    with pytest.raises(DependencyError, match="cannot answer now") as caught:
        await reranker.scores(QUESTION, TEXTS)
    assert caught.value.retry_after_seconds == 7.0


@pytest.mark.parametrize("told", [b"<html>", {}, {"max_client_batch_size": None}, {"max_client_batch_size": "x"}, []])
async def test_a_server_without_limits_is_no_tei(told: Any) -> None:
    with doubles.running(doubles.tei) as server:
        server.faults.append((200, told, {}))
        opened = compose.open_reranker(doubles.settings(server.url))
        with pytest.raises(DependencyError, match=r"check spec\.reranker\.server"):
            await opened.scores(QUESTION, TEXTS)
        assert await opened.scores(QUESTION, TEXTS[:1]) == [doubles.relevance(QUESTION, TEXTS[0])]
        await opened.close()


async def test_nobody_at_the_address_is_an_error(protocol: str) -> None:
    with doubles.running(PROTOCOLS[protocol]) as server:
        url = server.url
    opened = compose.open_reranker(doubles.settings(url, protocol=protocol))
    with pytest.raises(DependencyError, match=r"the reranker .* cannot be reached .*NetworkPolicy"):
        await opened.scores(QUESTION, TEXTS)
    await opened.close()


async def test_the_key_is_read_again_when_its_file_changes(protocol: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("old")
    with doubles.running(PROTOCOLS[protocol], api_key="new") as server:
        opened = compose.open_reranker(doubles.settings(server.url, protocol=protocol, api_key_file=str(key)))
        with pytest.raises(DependencyError, match="refuses the API key") as caught:
            await opened.scores(QUESTION, TEXTS)
        assert "old" not in str(caught.value)
        key.write_text("newer")
        key.write_text("new")
        assert len(await opened.scores(QUESTION, TEXTS)) == len(TEXTS)
        key.unlink()
        with pytest.raises(DependencyError, match="key: No such file or directory; correct the Secret") as caught:
            await opened.scores(QUESTION, TEXTS)
        assert caught.value.dependency == "reranker"
        await opened.close()
