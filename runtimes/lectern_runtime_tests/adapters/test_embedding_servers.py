"""Embedding servers as `Embedder`: limits, batches, what is refused, what is waited for, and vectors that cannot be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lectern_contract.errors import DependencyError, DocumentError
from lectern_contract.settings import EmbedderSettings, ModelServerSettings
from lectern_runtime.adapters import compose, model_server, tei
from lectern_runtime.adapters.model_server import ModelServer
from lectern_runtime.adapters.openai_embeddings import OpenAiEmbedder
from lectern_runtime.errors import EmbedderFailed, InputTooLong, TextNotUnicode
from lectern_runtime.ports import Embedder, EmbedderInfo
from lectern_runtime_tests.adapters import embedding_servers as doubles
from lectern_runtime_tests.adapters.embedding_servers import DIMENSIONS, LONGEST, EmbeddingServer

PROTOCOLS = {"TEI": doubles.tei, "OpenAI": doubles.openai}


def settings(url: str, protocol: Any, *, api_key_file: str | None = None) -> EmbedderSettings:
    return EmbedderSettings(
        model="words",
        revision="main",
        dimensions=DIMENSIONS,
        max_input_tokens=LONGEST,
        query_prefix="",
        document_prefix="",
        source=ModelServerSettings(url=url, protocol=protocol, api_key_file=api_key_file, ca_file=None),
    )


@pytest.fixture(params=list(PROTOCOLS))
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(protocol: str) -> Iterator[EmbeddingServer]:
    with doubles.running(PROTOCOLS[protocol]) as running:
        yield running


@pytest.fixture
async def embedder(server: EmbeddingServer, protocol: str) -> AsyncIterator[Embedder]:
    opened = compose.open_embedder(settings(server.url, protocol))
    await opened.info()
    server.asked.clear()
    yield opened
    await opened.close()


async def test_an_embedder_tells_limits_and_the_measured_length_of_a_vector(embedder: Embedder, protocol: str) -> None:
    expected = {
        "TEI": EmbedderInfo("acme/words", "c0ffee", DIMENSIONS, LONGEST, 4, 400),
        "OpenAI": EmbedderInfo("words", "main", DIMENSIONS, LONGEST, 32, 32 * LONGEST),
    }
    assert await embedder.info() == expected[protocol]


async def test_vectors_have_length_1_and_come_in_the_order_of_the_texts(
    embedder: Embedder, server: EmbeddingServer
) -> None:
    texts = [f"text {number}" for number in range(11)]
    vectors = await embedder.embed(texts)
    rows = np.array([server.row(text) for text in texts], np.float32)
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    assert (await embedder.embed([])).shape == (0, DIMENSIONS)


async def test_calls_keep_the_servers_limits(embedder: Embedder, server: EmbeddingServer, protocol: str) -> None:
    await embedder.embed(["word"] * 40)
    path, expected = {"TEI": ("/embed", [4] * 10), "OpenAI": ("/v1/embeddings", [32, 8])}[protocol]
    assert server.inputs(path) == expected


async def test_a_text_that_is_too_long_is_named_by_its_place_and_never_cut(embedder: Embedder) -> None:
    texts = ["short"] * 37 + ["word " * 15] + ["short"] * 3
    with pytest.raises(InputTooLong) as caught:
        await embedder.embed(texts)
    assert (caught.value.index, caught.value.tokens, caught.value.limit) == (37, 17, LONGEST)


async def test_a_body_that_is_too_large_is_cut_in_two(
    embedder: Embedder, server: EmbeddingServer, protocol: str
) -> None:
    texts = ["\u0001" * 2_900 for _ in range(4)]
    assert (await embedder.embed(texts)).shape == (4, DIMENSIONS)
    assert sorted(len(body.get("inputs", body.get("input"))) for _, body in server.asked) == [2, 2, 4]
    with pytest.raises(DocumentError, match="text 1 of the call") as caught:
        await embedder.embed(["word", "y" * 70_000])
    # TEI is not even asked to embed it: it takes 250 characters a token, and says so of what it can count
    assert (caught.value.stage, caught.value.reason) == (
        "embed",
        {"TEI": "InputTooLong", "OpenAI": "TextRefused"}[protocol],
    )


async def test_half_a_character_is_refused_before_it_is_sent(embedder: Embedder, server: EmbeddingServer) -> None:
    for call in (embedder.embed, embedder.tokenize):
        with pytest.raises(TextNotUnicode):
            await call(["fine", "half \ud83d"])
    assert server.asked == []


@pytest.mark.parametrize(
    ("status", "headers", "retry_after"),
    [(429, {"retry-after": "7"}, 7.0), (503, {}, None), (424, {"retry-after": "soon"}, None), (500, {}, None)],
)
async def test_a_server_that_cannot_answer_now_is_waited_for_as_it_asks(
    embedder: Embedder, server: EmbeddingServer, status: int, headers: dict[str, str], retry_after: float | None
) -> None:
    server.faults = [(status, {"error": "Model is overloaded"}, headers)]
    with pytest.raises(EmbedderFailed, match=f"HTTP {status}") as caught:
        await embedder.embed(["a secret text"])
    assert caught.value.retry_after_seconds == retry_after
    assert "secret" not in str(caught.value)
    assert (await embedder.embed(["a secret text"])).shape == (1, DIMENSIONS)


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        ([1.0] * 5, "spec.embedding.dimensions says 8"),
        ([0.0] * DIMENSIONS, "zero or not finite"),
        ([float("nan")] * DIMENSIONS, "zero or not finite"),
        (["a"] * DIMENSIONS, "something else than vectors"),
        ({"a": 1}, "something else than vectors"),
    ],
)
async def test_a_vector_that_cannot_be_compared_is_refused(
    embedder: Embedder, server: EmbeddingServer, vector: Any, words: str
) -> None:
    server.vector = vector
    with pytest.raises(EmbedderFailed, match=words):
        await embedder.embed(["one"])


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}", b"null", b'{"data": 3}', b"[[1]]"])
async def test_an_answer_in_another_language_is_said(
    embedder: Embedder, server: EmbeddingServer, answer: bytes
) -> None:
    server.faults = [(200, answer, {})]
    with pytest.raises(EmbedderFailed, match=r"check spec\.embedding"):
        await embedder.embed(["one", "two"])


async def test_a_key_is_read_from_its_file_and_again_when_it_changed(tmp_path: Path, protocol: str) -> None:
    file = tmp_path / "key"
    file.write_text("wrong-one\n")
    with doubles.running(PROTOCOLS[protocol], api_key="right-one") as server:
        embedder = compose.open_embedder(settings(server.url, protocol, api_key_file=str(file)))
        with pytest.raises(DependencyError, match="refuses the API key") as caught:
            await embedder.info()
        assert "wrong-one" not in str(caught.value)
        (tmp_path / "new").write_text("right-one\n")
        (tmp_path / "new").replace(file)
        assert (await embedder.info()).dimensions == DIMENSIONS
        file.unlink()
        with pytest.raises(DependencyError, match="key: No such file"):
            await embedder.embed(["one"])
        await embedder.close()


async def test_a_server_that_is_away_silent_or_somebody_else_is_said(protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://user:hunter2@127.0.0.1:{silent.getsockname()[1]}"  # secret-scan: allow, it must not be told
        server = ModelServer(ModelServerSettings(url=url, protocol="TEI", api_key_file=None, ca_file=None), seconds=0.2)
        with pytest.raises(EmbedderFailed, match="keeps silent") as caught:
            await server.get("/info")
        assert "hunter2" not in str(caught.value)
        await server.close()
    away = compose.open_embedder(settings(url, protocol))
    with pytest.raises(EmbedderFailed, match="cannot be reached"):
        await away.info()
    await away.close()
    with pytest.raises(EmbedderFailed, match="was closed"):
        await away.info()
    other = {"TEI": "OpenAI", "OpenAI": "TEI"}[protocol]
    with doubles.running(PROTOCOLS["OpenAI"]) as running:
        wrong = compose.open_embedder(settings(f"{running.url}/elsewhere", other))
        with pytest.raises(EmbedderFailed, match="HTTP 404"):
            await wrong.info()
        await wrong.close()


# ------------------------------------------------------------------------------------------------- tokens


async def test_tokens_of_tei_are_places_of_characters_in_texts_of_any_script_and_length() -> None:
    texts = ["", "plain words", "Grüße an 東京 🎉 ende", "ä " * 20_000]
    with doubles.running(doubles.tei) as server:
        embedder = compose.open_embedder(settings(server.url, "TEI"))
        spans = await embedder.tokenize(texts)
        await embedder.close()
    assert [list(found) for found in spans] == [doubles.tokens_of(text) for text in texts]


async def test_tokens_that_tei_places_outside_the_text_are_refused() -> None:
    with doubles.running(doubles.tei) as server:
        embedder = compose.open_embedder(settings(server.url, "TEI"))
        await embedder.info()
        for text in ("ab", "äb"):
            server.faults = [(200, [[{"special": False, "start": 0, "stop": 99}]], {})]
            with pytest.raises(EmbedderFailed, match="places of tokens"):
                await embedder.tokenize([text])
        await embedder.close()


async def test_a_text_that_the_tokenizer_refuses_costs_only_itself() -> None:
    with doubles.running(doubles.tei) as server:
        embedder = compose.open_embedder(settings(server.url, "TEI"))
        with pytest.raises(DocumentError, match="text 2 of the call") as caught:
            await embedder.embed(["fine", "fine", "unspeakable", "fine"])
        assert "unspeakable" not in str(caught.value)
        await embedder.close()


async def test_the_longest_call_to_tei_stays_below_its_body_limit() -> None:
    texts = ["\u0000" * tei.WINDOW_CHARACTERS] * 40
    sizes = [sum(len(text) for text in call) * 6 for call in model_server.calls(texts, most=32)]
    assert max(sizes) < 2_000_000
    assert sum(sizes) == 40 * 6 * tei.WINDOW_CHARACTERS


async def test_tokens_of_an_openai_server_are_counted_on_the_long_side() -> None:
    asked = settings("http://127.0.0.1:9/v1", "OpenAI")
    assert isinstance(asked.source, ModelServerSettings)
    embedder = OpenAiEmbedder.open(asked, asked.source)
    assert await embedder.tokenize(["", "Unbelievable: 12 €!"]) == [
        [],
        [(0, 3), (3, 6), (6, 9), (9, 12), (12, 13), (14, 15), (15, 16), (17, 18), (18, 19)],
    ]
    await embedder.close()


async def test_many_calls_at_once_are_all_answered() -> None:
    with doubles.running(doubles.tei) as server:
        embedder = compose.open_embedder(settings(server.url, "TEI"))
        answers = await asyncio.gather(*(embedder.embed([f"text {number}"]) for number in range(40)))
        await embedder.close()
    assert {answer.shape for answer in answers} == {(1, DIMENSIONS)}
