"""How the TEI adapter packs its calls, and which servers it does not trust with the places of tokens."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from lectern_contract.settings import EmbedderSettings, ModelServerSettings
from lectern_runtime.adapters import tei
from lectern_runtime.adapters.tei import TeiEmbedder
from lectern_runtime.errors import EmbedderFailed, InputTooLong
from lectern_runtime_tests.adapters import embedding_servers as doubles
from lectern_runtime_tests.adapters.embedding_servers import DIMENSIONS, LONGEST, EmbeddingServer, Reply

MOST_TOKENS = 2 * LONGEST + 5


def narrow(server: EmbeddingServer, path: str, body: Any) -> Reply:
    """A TEI whose batches hold two of the longest inputs."""
    status, answer = doubles.tei(server, path, body)
    return status, {**answer, "max_batch_tokens": MOST_TOKENS} if path == "/info" else answer


def prompted(server: EmbeddingServer, path: str, body: Any) -> Reply:
    """A TEI that was started with a default prompt."""
    if path == "/tokenize":
        body = {**body, "inputs": [f"passage: {text}" for text in body["inputs"]]}
    return doubles.tei(server, path, body)


@contextlib.asynccontextmanager
async def opened(server: EmbeddingServer) -> AsyncIterator[TeiEmbedder]:
    source = ModelServerSettings(url=server.url, protocol="TEI", api_key_file=None, ca_file=None)
    settings = EmbedderSettings(
        model="words",
        revision="main",
        dimensions=DIMENSIONS,
        max_input_tokens=LONGEST,
        query_prefix="",
        document_prefix="",
        source=source,
    )
    embedder = TeiEmbedder.open(settings, source)
    try:
        yield embedder
    finally:
        await embedder.close()


async def test_texts_of_like_length_share_calls_that_fit_a_batch() -> None:
    texts = ["word " * count + "end" for count in (8, 0, 3, 9, 1, 0, 7, 2, 9, 0, 0)]
    with doubles.running(narrow) as server:
        async with opened(server) as embedder:
            vectors = await embedder.embed(texts)
        sent = [body["inputs"] for path, body in server.asked if path == "/embed"][1:]  # the first is the probe
        rows = np.array([server.row(text) for text in texts], np.float32)
    assert vectors == pytest.approx(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    lengths = [len(text) for text in itertools.chain(*sent)]
    assert lengths == sorted(map(len, texts))
    for inputs in sent:
        assert sum(len(doubles.tokens_of(text)) + 2 for text in inputs) <= MOST_TOKENS
        assert len(inputs) <= doubles.MOST_INPUTS
    assert len(sent) < len(texts)


async def test_a_text_of_too_many_characters_is_counted_before_it_is_refused() -> None:
    most = LONGEST * tei.CHARACTERS_PER_TOKEN
    texts = ["fine", "x" * (most - 10) + " end" * 20]
    with doubles.running(doubles.tei) as server:
        async with opened(server) as embedder:
            with pytest.raises(InputTooLong) as caught:
                await embedder.embed(texts)
        assert server.inputs("/embed") == [1]
    assert (caught.value.index, caught.value.tokens, caught.value.limit) == (1, 22, LONGEST)


async def test_a_server_that_puts_a_prompt_before_texts_is_not_asked_for_places() -> None:
    with doubles.running(prompted) as server:
        async with opened(server) as embedder:
            with pytest.raises(EmbedderFailed, match="without a default prompt"):
                await embedder.tokenize(["some words"])
