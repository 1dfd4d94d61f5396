"""A second, plain forward pass of all-MiniLM-L6-v2 in numpy, to compare the ONNX embedder with.

Only tests call it. It shares nothing with the product but the weights file: it reads the safetensors format, pads a
batch and masks attention and mean, as the model's authors do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
HEADS = 12
HEAD_SIZE = 32

erf = np.vectorize(math.erf, otypes=[np.float64])


def read_weights(path: Path) -> dict[str, Floats]:
    """All float32 tensors of a safetensors file by name."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for name, entry in json.loads(content[8:start]).items():
        if entry.get("dtype") == "F32":
            first, end = (start + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(content[first:end], np.float32).reshape(entry["shape"])
    return tensors


def vectors(weights: Mapping[str, Floats], tokens: Sequence[Sequence[int]]) -> Floats:
    """Unit vectors, shape (len(tokens), 384), of token lists that are padded to the longest one."""
    width = max(len(ids) for ids in tokens)
    padded = np.array([[*ids, *[0] * (width - len(ids))] for ids in tokens])
    mask = np.array([[1.0] * len(ids) + [0.0] * (width - len(ids)) for ids in tokens], np.float32)
    hidden = _normalise(
        weights["embeddings.word_embeddings.weight"][padded]
        + weights["embeddings.position_embeddings.weight"][:width]
        + weights["embeddings.token_type_embeddings.weight"][0],
        weights,
        "embeddings",
    )
    for number in range(6):
        hidden = _layer(hidden, mask, weights, f"encoder.layer.{number}")
    means = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    return _float32(means / np.linalg.norm(means, axis=1, keepdims=True))


def _layer(hidden: Floats, mask: Floats, weights: Mapping[str, Floats], name: str) -> Floats:
    query, key, value = (
        _split_heads(_linear(hidden, weights, f"{name}.attention.self.{role}")) for role in ("query", "key", "value")
    )
    scores = query @ key.transpose(0, 1, 3, 2) / np.float32(math.sqrt(HEAD_SIZE))
    scores = np.where(mask[:, None, None, :] > 0, scores, -np.inf)
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    attended = (exponents / exponents.sum(axis=-1, keepdims=True)) @ value
    merged = attended.transpose(0, 2, 1, 3).reshape(hidden.shape)
    middle = _linear(merged, weights, f"{name}.attention.output.dense") + hidden
    middle = _normalise(middle, weights, f"{name}.attention.output")
    wide = _linear(middle, weights, f"{name}.intermediate.dense")
    gelu = _float32(0.5 * wide * (1.0 + erf(wide / math.sqrt(2.0))))
    return _normalise(_linear(gelu, weights, f"{name}.output.dense") + middle, weights, f"{name}.output")


def _linear(source: Floats, weights: Mapping[str, Floats], name: str) -> Floats:
    return source @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _split_heads(source: Floats) -> Floats:
    batch, width, _ = source.shape
    return source.reshape(batch, width, HEADS, HEAD_SIZE).transpose(0, 2, 1, 3)


def _normalise(source: Floats, weights: Mapping[str, Floats], name: str) -> Floats:
    centred = source - source.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(1e-12))
    return _float32(scaled * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"])


def _float32(values: NDArray[np.floating]) -> Floats:
    return np.asarray(values, np.float32)
