"""The TEI adapter against a server that is one: `lectern serve-embeddings` as a process, or a real TEI at TEI_URL.

TEI_URL names a TEI 1.9 with its default options that serves sentence-transformers/all-MiniLM-L6-v2; what a test does
to a server (its options, its end) it does to Lectern's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from e2e.adapter_tests import embedding_process
from e2e.adapter_tests.embedding_process import STOPS_SECONDS, ServedEmbeddings
from lectern_contract.errors import DependencyError, DocumentError
from lectern_contract.settings import EmbedderSettings
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.onnx import OnnxMiniLm
from lectern_runtime.errors import EmbedderFailed, InputTooLong
from lectern_runtime.ports import Embedder
from lectern_runtime.retries import Retries
from lectern_runtime_tests.contracts.tei_contract import TeiContract, counters, words

PATIENCE = 30.0
CLOSE = 1e-5
TEXTS = [
    "a",
    "how old is the universe",
    "A recipe for onion soup with toasted bread.",
    "Straße, naïve café, Ærøskøbing",
    "東京は日本の首都です。",
    "🙂 emoji 🏽‍🚒 and a zero\u200bwidth space",
    "line one\n\n\tline two\r\nline three",
    "def add(a: int, b: int) -> int:\n    return a + b",
    "The operator turns resources into manifests and keeps them that way. " * 3,
    words(254),
]
VOCABULARY = ["a", "text", "goes", "in", "and", "numbers", "come", "out", "which", "stand", "for", "what", "it", "says"]


def passages(count: int, *, seed: int = 5) -> list[str]:
    """Passages of 1 to 120 tokens."""
    chance = random.Random(seed)
    return [" ".join(chance.choices(VOCABULARY, k=chance.randint(1, 120))) for _ in range(count)]


@contextlib.asynccontextmanager
async def opened(settings: EmbedderSettings) -> AsyncIterator[Embedder]:
    embedder = compose.open_embedder(settings)
    try:
        yield embedder
    finally:
        await embedder.close()


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def own() -> Iterator[ServedEmbeddings]:
    with embedding_process.serving() as server:
        yield server


@pytest.fixture
def served(request: pytest.FixtureRequest) -> ServedEmbeddings:
    """The server that is held against the contract."""
    if url := os.environ.get("TEI_URL"):
        return ServedEmbeddings(None, url.rstrip("/"))
    server: ServedEmbeddings = request.getfixturevalue("own")
    return server


@pytest.fixture
async def embedder(served: ServedEmbeddings) -> AsyncIterator[Embedder]:
    async with opened(served.settings()) as embedder:
        yield embedder


@pytest.fixture
async def onnx() -> AsyncIterator[OnnxMiniLm]:
    model = OnnxMiniLm.open(threads=2)
    yield model
    await model.close()


class TestServer(TeiContract):
    @pytest.fixture
    def tei(self, served: ServedEmbeddings) -> Iterator[httpx.Client]:
        with served.client() as client:
            yield client


# -------------------------------------------------------------------------------------------- the adapter, any server


async def test_vectors_are_those_of_the_model_in_process(embedder: Embedder, onnx: OnnxMiniLm) -> None:
    assert await embedder.embed(TEXTS) == pytest.approx(await onnx.embed(TEXTS), abs=CLOSE)


async def test_a_vector_does_not_depend_on_its_company(embedder: Embedder) -> None:
    texts = passages(20)
    together = await embedder.embed(texts)
    assert await embedder.embed(texts[::-1]) == pytest.approx(together[::-1], abs=CLOSE)
    for row in (0, 9, 19):
        assert await embedder.embed([texts[row]]) == pytest.approx(together[row : row + 1], abs=CLOSE)


async def test_tokens_are_those_of_the_model_in_process(embedder: Embedder, onnx: OnnxMiniLm) -> None:
    texts = [*TEXTS, "", "ä word " * 9_000, *passages(20)]
    found = [list(spans) for spans in await embedder.tokenize(texts)]
    assert found == [list(spans) for spans in await onnx.tokenize(texts)]


async def test_a_text_that_is_too_long_is_an_error_with_its_place_and_length(embedder: Embedder) -> None:
    for tokens in (255, 5_000):
        with pytest.raises(InputTooLong) as caught:
            await embedder.embed([*TEXTS, words(tokens), "short"])
        assert (caught.value.index, caught.value.tokens, caught.value.limit) == (len(TEXTS), tokens + 2, 256)
    with pytest.raises(InputTooLong) as caught:
        await embedder.embed(["word " * 20_000])
    assert caught.value.tokens == 20_002


async def test_a_text_that_cannot_be_embedded_is_named(embedder: Embedder) -> None:
    for text in ("", " " * 70_000):
        with pytest.raises(DocumentError, match="text 1 of the call") as caught:
            await embedder.embed(["fine", text])
        assert caught.value.reason == "TextRefused"


# ---------------------------------------------------------------------------------------- limits, with other options


async def test_the_limits_of_a_small_server_are_kept(onnx: OnnxMiniLm) -> None:
    texts = passages(15)
    with embedding_process.serving("--max-client-batch-size", "5", "--max-batch-tokens", "300") as server:
        async with opened(server.settings()) as embedder:
            info = await embedder.info()
            assert (info.max_batch_size, info.max_batch_tokens) == (5, 300)
            assert await embedder.embed(texts) == pytest.approx(await onnx.embed(texts), abs=CLOSE)
        with server.client() as client:
            seen = counters(client.get("/metrics").text)
    assert not any(name.startswith("te_request_failure") for name in seen)
    assert seen["te_batch_next_size_count"] < len(texts)
    assert seen['te_batch_next_tokens_bucket{le="512.0"}'] == seen["te_batch_next_tokens_count"]


async def test_a_body_that_the_server_finds_too_large_is_cut(onnx: OnnxMiniLm) -> None:
    texts = passages(20)
    with embedding_process.serving("--payload-limit", "2000") as server:
        async with opened(server.settings()) as embedder:
            assert await embedder.embed(texts) == pytest.approx(await onnx.embed(texts), abs=CLOSE)
            with pytest.raises(DocumentError, match="text 2 of the call"):
                await embedder.embed(["a", "b", "supercalifragilistic" * 200])


async def test_nothing_is_cut_silently_by_a_server_that_cuts() -> None:
    with embedding_process.serving("--auto-truncate") as server:
        with server.client() as client:
            assert client.post("/embed", json={"inputs": words(300)}).status_code == 200
        async with opened(server.settings()) as embedder:
            with pytest.raises(InputTooLong):
                await embedder.embed([words(300)])


async def test_a_server_that_is_full_is_asked_again_when_it_says() -> None:
    told: list[DependencyError] = []
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0.05)

    retry = Retries(attempts=1_000, told=told.append, sleep=sleep)
    with embedding_process.serving("--max-concurrent-requests", "1") as server:
        async with opened(server.settings()) as embedder:
            await embedder.info()
            texts = [passages(3, seed=seed) for seed in range(4)]
            answers = await asyncio.gather(*(retry.call(functools.partial(embedder.embed, each)) for each in texts))
            calm = [await embedder.embed(each) for each in texts]
    assert [answer == pytest.approx(row, abs=CLOSE) for answer, row in zip(answers, calm, strict=True)] == [True] * 4
    assert told
    assert {"HTTP 429" in str(error) for error in told} == {True}
    assert all((error.retry_after_seconds or 0) >= 1 for error in told)
    assert min(slept) >= 1


# ------------------------------------------------------------------------------------------------ faults and the end


def inputs_begun(server: ServedEmbeddings, count: int) -> Callable[[], bool]:
    def begun() -> bool:
        with server.client() as client:
            return counters(client.get("/metrics").text).get("te_embed_count", 0) >= count

    return begun


@pytest.mark.parametrize(("ending", "count"), [(signal.SIGKILL, 32), (signal.SIGTERM, 4)])
async def test_a_server_that_ends_in_the_middle(ending: signal.Signals, count: int, onnx: OnnxMiniLm) -> None:
    texts = [words(250)] * count
    with embedding_process.serving("--max-batch-tokens", "65536", "--threads", "1") as server:
        async with opened(server.settings()) as embedder:
            await embedder.info()
            asked = asyncio.create_task(embedder.embed(texts))
            await asyncio.to_thread(eventually, inputs_begun(server, 1 + count))
            assert server.process is not None
            server.process.send_signal(ending)
            if ending == signal.SIGKILL:  # it cannot answer: that is no fault of the texts
                with pytest.raises(EmbedderFailed, match="cannot be reached"):
                    await asked
            else:  # it answers what it has begun, and then goes
                assert await asked == pytest.approx(await onnx.embed(texts), abs=CLOSE)
                assert server.process.wait(STOPS_SECONDS) == 0
            with pytest.raises(EmbedderFailed, match="cannot be reached"):
                await embedder.embed(["again"])


def test_what_nobody_waits_for_is_not_worked_on() -> None:
    body = {"inputs": [words(250)] * 32}
    with (
        embedding_process.serving("--threads", "1", "--max-batch-tokens", "256") as server,
        server.client() as client,
    ):
        with pytest.raises(httpx.ReadTimeout):
            client.post("/embed", json=body, timeout=0.3)
        assert client.post("/embed", json={"inputs": "next"}).status_code == 200
        seen = counters(client.get("/metrics").text)
    assert seen['te_request_failure{err="dropped"}'] > 16


async def test_a_key_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    key, wrong = tmp_path / "key", tmp_path / "wrong"
    key.write_text("swordfish\n")
    wrong.write_text("catfish\n")
    with embedding_process.serving("--api-key-file", str(key)) as server:
        with server.client() as client:
            answers = [client.get(path).status_code for path in ("/health", "/metrics", "/info")]
            assert (answers, client.post("/embed", json={"inputs": "a"}).content) == ([200, 200, 401], b"")
        async with opened(server.settings(api_key_file=str(key))) as embedder:
            assert (await embedder.embed(["a"])).shape == (1, 384)
        async with opened(server.settings(api_key_file=str(wrong))) as embedder:
            with pytest.raises(EmbedderFailed, match="refuses the API key"):
                await embedder.embed(["a"])


def test_what_does_not_allow_a_start_is_said(own: ServedEmbeddings, tmp_path: Path) -> None:
    port = own.url.rpartition(":")[2]
    for options, said in {
        ("--port", port): f"port {port} of 127.0.0.1 cannot be used",
        ("--weights", str(tmp_path)): "cannot be read",
        ("--max-batch-tokens", "100"): "use 256 or more",
        ("--api-key-file", str(tmp_path / "none")): "No such file",
    }.items():
        ended = subprocess.run(
            embedding_process.command(*options), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert (ended.returncode, ended.stderr.splitlines()[-1].startswith("lectern: ")) == (2, True)
        assert said in ended.stderr


async def test_questions_are_answered_while_a_corpus_is_embedded(embedder: Embedder) -> None:
    corpus = asyncio.create_task(embedder.embed(passages(60)))
    waits = []
    while not corpus.done():
        begun = time.monotonic()
        row = await embedder.embed(["how old is the universe"])
        waits.append(time.monotonic() - begun)
        assert np.isfinite(row).all()
    await corpus
    assert len(waits) > 2
    assert float(np.median(waits)) < 3
