"""What the STUB of an embedding model computes: tokens are short runs of letters, vectors are a digest of the text.

No model: equal texts get equal vectors and different texts get different ones, and that is all. Both the stub server
and the reference model use it.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 16
MOST_DIMENSIONS = 384
MODEL = "stub"
MAX_INPUT_TOKENS = 64
SPECIAL_TOKENS = 2
OVERLOADED, REFUSED, NOT_FINITE = "stub-429", "stub-422", "stub-nan"
"""Markers in a text: the stub server answers it with 429, refuses it, or gives it a vector that is not finite."""
_TOKEN = re.compile(r"\w{1,6}|[^\w\s]")


def vector(text: str, dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    """Return the vector of a text: shape (dimensions,), length 1."""
    data, counter = b"", 0
    while len(data) < dimensions:
        data += hashlib.sha512(b"%d:" % counter + text.encode()).digest()
        counter += 1
    row = np.frombuffer(data[:dimensions], np.uint8).astype(np.float64) - 127.5
    return np.asarray(row / np.linalg.norm(row), np.float32)


def spans(text: str) -> list[tuple[int, int]]:
    """Return the character spans of the tokens of a text, without special ones."""
    return [match.span() for match in _TOKEN.finditer(text)]
