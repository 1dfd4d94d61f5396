"""Turns texts into MiniLM vectors on the CPU, in this process, without a model hub and without torch.

The composition of the embedded mode opens one and hands it to the worker and the query pipeline as their `Embedder`.
Its graph is package data, its weights are mapped from the model's own file (see `minilm_files.py`).
"""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors
from tokenizers import Encoding, Tokenizer

from lectern_runtime.adapters import minilm_files, text_windows
from lectern_runtime.errors import EmbedderFailed, InputTooLong
from lectern_runtime.ports import EmbedderInfo, Vectors

DIMENSIONS = 384
MAX_INPUT_TOKENS = 256  # what the model was trained on (its model card), [CLS] and [SEP] included
# A call of this size keeps every core busy and still ends within seconds; larger calls work, in more passes.
MAX_BATCH_SIZE = 64
MAX_BATCH_TOKENS = MAX_BATCH_SIZE * MAX_INPUT_TOKENS
# One pass through the model. On a CPU tokens a second do not grow with the batch (measured: 4,400 to 4,900 for any
# of 1x12 to 64x16), so passes stay small: one ends soon, and its activations take about 10 MB.
PASS_TOKENS = MAX_INPUT_TOKENS
# What the tokeniser sees at once. Its own records take 200 bytes a character, so a long document must not pass whole.
WINDOW_CHARACTERS = 65_536

RUN_ERRORS = (onnx_errors.Fail, onnx_errors.InvalidArgument, onnx_errors.RuntimeException)

Ids = NDArray[np.int32]
Forward = Callable[[Ids], Vectors]


@dataclass(frozen=True)
class Pass:
    """Texts of equal length that go through the model together: their rows in the call, ids (rows, tokens)."""

    rows: tuple[int, ...]
    ids: Ids


class OnnxMiniLm:
    """The `Embedder` of the embedded mode: all-MiniLM-L6-v2 in float32.

    Only texts of equal length share a pass, so nothing is padded, and a text's vector does not depend on its company
    beyond rounding. A call runs on up to `threads` threads of one core each, which release the interpreter lock; one
    thread more is kept so that a question need not wait for the passes of a document.
    """

    def __init__(self, forward: Forward, tokenizer: Tokenizer, *, revision: str, threads: int) -> None:
        self._forward = forward
        self._tokenizer = tokenizer
        self._first, self._last = tokenizer.encode("").ids  # [CLS] and [SEP], which every input has around it
        self._revision = revision
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads + 1, thread_name_prefix="minilm")
        self._closed = False

    @classmethod
    def open(cls, weights: Path | None = None, threads: int | None = None) -> OnnxMiniLm:
        """Load the model from the folder `weights`, else from the installed package; about 0.2 CPU-seconds.

        `threads` defaults to the number of processors. Raises ModelNotInstalled.
        """
        files = minilm_files.find(weights)
        return cls(
            session_forward(open_session(files)),
            open_tokenizer(files),
            revision=files.revision,
            threads=threads or os.cpu_count() or 1,
        )

    async def info(self) -> EmbedderInfo:
        """Return the model's name, revision (sha256 of its weights), dimensions and limits."""
        return EmbedderInfo(
            model=minilm_files.MODEL,
            revision=self._revision,
            dimensions=DIMENSIONS,
            max_input_tokens=MAX_INPUT_TOKENS,
            max_batch_size=MAX_BATCH_SIZE,
            max_batch_tokens=MAX_BATCH_TOKENS,
        )

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row of norm 1 per text, in the order of `texts`: shape (len(texts), 384).

        Raises InputTooLong, TextNotUnicode or EmbedderFailed; no text is ever cut. When cancelled, no new pass
        starts and those that run end by themselves.
        """
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        self._refuse_closed()
        # Planned outside the pool: a question's few tokens do not wait behind a document's passes.
        passes = iter(await asyncio.to_thread(self._plan, texts))
        try:
            async with asyncio.TaskGroup() as lanes:
                for _ in range(min(self._threads, len(texts))):
                    lanes.create_task(self._run_passes(passes, vectors))
        except* EmbedderFailed as group:
            raise group.exceptions[0] from None
        return vectors

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """Return for each text the character offsets [start, end) of its tokens, special tokens left out."""
        self._refuse_closed()
        return await asyncio.to_thread(self._offsets, texts)

    async def close(self) -> None:
        """Let running passes end and release the threads; later calls raise EmbedderFailed."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise EmbedderFailed(
                f"{minilm_files.MODEL} was closed; open a new embedder before further calls", dependency="embedder"
            )

    async def _run_passes(self, passes: Iterator[Pass], vectors: Vectors) -> None:
        loop = asyncio.get_running_loop()
        for each in passes:
            self._refuse_closed()
            vectors[list(each.rows)] = await loop.run_in_executor(self._pool, self._checked_forward, each.ids)

    def _checked_forward(self, ids: Ids) -> Vectors:
        vectors = self._forward(ids)
        if not np.isfinite(vectors).all():
            # A store accepts NaN silently and then ranks at random.
            raise EmbedderFailed(
                f"{minilm_files.MODEL} returned vectors that are not finite numbers; check this machine's memory",
                dependency="embedder",
            )
        return vectors

    def _plan(self, texts: Sequence[str]) -> list[Pass]:
        tokens = []
        for index, text in enumerate(text_windows.unicode(texts)):
            ids = [token for _, encoding in self._encodings(text) for token in encoding.ids]
            if len(ids) + 2 > MAX_INPUT_TOKENS:
                raise InputTooLong(index=index, tokens=len(ids) + 2, limit=MAX_INPUT_TOKENS)
            tokens.append([self._first, *ids, self._last])
        return plan_passes(tokens)

    def _offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [
            [(at + start, at + end) for at, encoding in self._encodings(text) for start, end in encoding.offsets]
            for text in text_windows.unicode(texts)
        ]

    def _encodings(self, text: str) -> Iterator[tuple[int, Encoding]]:
        for start, end in windows(text):
            # A batch of one: unlike `encode` it releases the interpreter lock.
            (encoding,) = self._tokenizer.encode_batch([text[start:end]], add_special_tokens=False)
            yield start, encoding


def plan_passes(tokens: Sequence[Sequence[int]]) -> list[Pass]:
    """Group token lists of equal length into passes of at most PASS_TOKENS tokens, longest first.

    Longest first because the threads then end at nearly the same time.
    """
    by_length: dict[int, list[int]] = {}
    for row, ids in enumerate(tokens):
        by_length.setdefault(len(ids), []).append(row)
    passes = []
    for length in sorted(by_length, reverse=True):
        rows = by_length[length]
        size = max(1, PASS_TOKENS // length)
        for start in range(0, len(rows), size):
            part = tuple(rows[start : start + size])
            passes.append(Pass(part, np.array([tokens[row] for row in part], np.int32)))
    return passes


def windows(text: str) -> Iterator[tuple[int, int]]:
    """Cut a text into ranges [start, end) of at most WINDOW_CHARACTERS, before white space wherever there is any.

    No token of this model crosses white space, so the tokens of the windows are the tokens of the text. Only a
    stretch without any, longer than a window, comes apart into more tokens.
    """
    return text_windows.windows(text, WINDOW_CHARACTERS)


def open_tokenizer(files: minilm_files.ModelFiles) -> Tokenizer:
    """Load the tokenizer without the padding and the truncation at 128 tokens that its file asks for."""
    tokenizer = Tokenizer.from_file(str(files.tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def open_session(files: minilm_files.ModelFiles) -> onnxruntime.InferenceSession:
    """Open the graph over the weights file, which stays mapped and is not copied as a whole.

    One thread a pass: `OnnxMiniLm` runs passes side by side, which costs no synchronisation. No arena: it keeps
    the largest activations for good and is no faster here.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3  # errors; they are raised as well
    weights = files.weights.resolve()
    graph = minilm_files.graph_path().read_bytes()
    if weights.name == minilm_files.WEIGHTS:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights.parent))
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    # A link to a file of another name (a hub's cache) is refused by onnxruntime as a path that escapes the folder.
    with weights.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        options.add_external_initializers_from_files_in_memory([minilm_files.WEIGHTS], [content], [len(content)])
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def session_forward(session: onnxruntime.InferenceSession) -> Forward:
    """Return the session as a function from ids (rows, tokens) to vectors (rows, 384)."""

    def forward(ids: Ids) -> Vectors:
        try:
            (vectors,) = session.run(["vectors"], {"input_ids": ids})
        except RUN_ERRORS as error:
            raise EmbedderFailed(
                f"{minilm_files.MODEL} could not run over {ids.shape[0]} texts of {ids.shape[1]} tokens: {error}; "
                "free memory on this machine, and restart Lectern if it happens again",
                dependency="embedder",
            ) from error
        return np.asarray(vectors, np.float32)

    return forward
