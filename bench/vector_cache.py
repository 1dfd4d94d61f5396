"""Keeps vectors of test corpora on this machine, because embedding one takes minutes of every core.

`retrieval_quality` asks it; a file is named by the model's digest and the digest of the texts, so other weights or
other texts are embedded anew. It lies outside the repository, in `$XDG_CACHE_HOME/lectern/bench`.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from bench import data
from lectern_runtime.adapters.onnx import DIMENSIONS
from lectern_runtime.ports import Embedder, Vectors

AT_ONCE = 512
"""Texts of one call of the embedder: it sorts a call by length, and progress still shows."""
UNIT_TOLERANCE = 1e-3
PASSAGES_A_CORE_SECOND = 25
"""For the forecast only; measured on a core with AVX-512."""

Say = Callable[[str], None]


def directory(environ: Mapping[str, str]) -> Path:
    """Return where the vectors are kept."""
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "lectern" / "bench"


async def vectors(texts: Sequence[str], embedder: Embedder, where: Path, say: Say) -> Vectors:
    """Return one vector for each text, shape (n, 384), from the cache or made now and put there."""
    info = await embedder.info()
    path = where / f"vectors-{info.revision[:16]}-{data.digest(texts)[:16]}.npy"
    kept = _kept(path, len(texts))
    if kept is not None:
        say(f"vectors of {len(texts)} passages: from {path}")
        return kept
    minutes = len(texts) / PASSAGES_A_CORE_SECOND / (os.cpu_count() or 1) / 60
    say(
        f"embedding {len(texts)} passages, about {minutes:.1f} min on an idle machine; kept in {path}, "
        "so that the next run need not do it again"
    )
    made = await _embedded(texts, embedder, say)
    _keep(path, made)
    return made


def _kept(path: Path, count: int) -> Vectors | None:
    """The vectors in the file; None when there is no file or it holds something else."""
    try:
        found = np.load(path, allow_pickle=False)
    except (EOFError, OSError, ValueError):
        return None
    if found.shape != (count, DIMENSIONS) or found.dtype != np.float32:
        return None
    lengths = np.linalg.norm(found, axis=1)
    return found if bool(np.all(np.abs(lengths - 1) < UNIT_TOLERANCE)) else None


async def _embedded(texts: Sequence[str], embedder: Embedder, say: Say) -> Vectors:
    made = np.empty((len(texts), DIMENSIONS), np.float32)
    began = time.perf_counter()
    for start in range(0, len(texts), AT_ONCE):
        part = texts[start : start + AT_ONCE]
        made[start : start + len(part)] = await embedder.embed(part)
        say(f"  {start + len(part)} of {len(texts)}, {time.perf_counter() - began:.0f} s")
    return made


def _keep(path: Path, made: Vectors) -> None:
    """Write beside and rename, so that a run that dies leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as stream:
        np.save(stream, made)
    Path(stream.name).replace(path)
