"""MiniLM as the `Engine` of the embedding server: tokens, ids and single passes, without a schedule of its own.

`lectern serve-embeddings` opens one; the schedule over concurrent requests is the server's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer

from lectern_runtime.adapters import minilm_files, onnx
from lectern_runtime.embedding_server.engine import Ids, Model, Pass, Token
from lectern_runtime.errors import EmbedderFailed
from lectern_runtime.ports import Vectors


class MiniLmEngine:
    """all-MiniLM-L6-v2 in float32, its vectors those of `OnnxMiniLm`."""

    def __init__(self, forward: onnx.Forward, tokenizer: Tokenizer, *, revision: str) -> None:
        self._forward = forward
        self._tokenizer = tokenizer
        self._first, self._last = tokenizer.encode("").ids
        self.model = Model(
            name=minilm_files.MODEL,
            revision=revision,
            dtype="float32",
            pooling="mean",
            longest=onnx.MAX_INPUT_TOKENS,
        )

    @classmethod
    def open(cls, weights: Path | None = None) -> MiniLmEngine:
        """Load the model from the folder `weights`, else from the installed package; raises ModelNotInstalled."""
        files = minilm_files.find(weights)
        forward = onnx.session_forward(onnx.open_session(files))
        return cls(forward, onnx.open_tokenizer(files), revision=files.revision)

    def tokens(self, text: str, *, special: bool) -> list[Token]:
        """Return the tokens of a text; [CLS] and [SEP] are around them where `special`."""
        encoding = self._encoded(text, special=special)
        place = _byte_places(text)
        marks = zip(encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True)
        return [
            Token(number, piece, True, None, None)
            if mark
            else Token(number, text[start:stop], False, place[start], place[stop])
            for number, piece, mark, (start, stop) in marks
        ]

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return the ids of the tokens of a text."""
        return list(self._encoded(text, special=special).ids)

    def decode(self, ids: Sequence[int], *, skip_special: bool) -> str:
        """Return the text of ids, lower-case as the model reads it."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=skip_special)

    def shortened(self, ids: list[int], *, special: bool, left: bool) -> list[int]:
        """Return the ids cut to the model's longest input; [CLS] and [SEP] stay where `special`."""
        longest = self.model.longest
        if len(ids) <= longest:
            return ids
        if not special:
            return ids[-longest:] if left else ids[:longest]
        kept = ids[-(longest - 1) : -1] if left else ids[1 : longest - 1]
        return [self._first, *kept, self._last]

    def plan(self, inputs: Sequence[Sequence[int]]) -> list[Pass]:
        """Cut inputs into passes of equal length and few tokens, short inputs first."""
        return [Pass(each.rows, each.ids) for each in reversed(onnx.plan_passes(inputs))]

    def forward(self, ids: Ids) -> Vectors:
        """Return one vector of length 1 per row; raises EmbedderFailed, also for what is not a finite number."""
        vectors = self._forward(ids)
        if not np.isfinite(vectors).all():
            raise EmbedderFailed(
                f"{self.model.name} returned vectors that are not finite numbers; check this machine's memory",
                dependency="embedder",
            )
        return vectors

    def _encoded(self, text: str, *, special: bool) -> Encoding:
        # A batch of one: unlike `encode` it releases the interpreter lock.
        (encoding,) = self._tokenizer.encode_batch([text], add_special_tokens=special)
        return encoding


def _byte_places(text: str) -> Sequence[int]:
    """For each character of a text, and for its end, where it begins in UTF-8."""
    if text.isascii():
        return range(len(text) + 1)
    return list(accumulate((len(character.encode()) for character in text), initial=0))
