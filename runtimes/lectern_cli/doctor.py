"""What this machine has for Lectern, and how to get what is missing: `lectern doctor`.

Looks and changes nothing. A part that is needed and missing gives exit status 1; an optional one only
a line.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lectern_contract.errors import LecternError

State = Literal["ok", "missing", "optional"]
MIN_FREE_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its state, what was seen, and the next step when it is missing."""

    thing: str
    state: State
    seen: str
    next_step: str = ""


def examine(data_directory: Path) -> list[Finding]:
    """All findings, in the order in which a person would mend them."""
    return [
        _python(),
        *(_package(name, extra, optional) for name, extra, optional in _PACKAGES),
        _weights(),
        _data_directory(data_directory),
        _disk(data_directory),
        _command("kubectl", "to apply resources to a cluster; install Kubernetes' command line"),
        _kubeconfig(),
        _command("go", "to build the test control plane (make test); make installs one when it is missing"),
    ]


_PACKAGES: tuple[tuple[str, str, bool], ...] = (
    ("fastapi", "local", False),
    ("onnxruntime", "local", False),
    ("qdrant-edge-py", "local", False),
    ("tokenizers", "local", False),
    ("uvicorn", "local", False),
    ("kopf", "operator", True),
    ("kubernetes", "operator", True),
)


def _python() -> Finding:
    return Finding("Python", "ok", ".".join(map(str, sys.version_info[:3])))


def _package(name: str, extra: str, optional: bool) -> Finding:
    try:
        return Finding(f"package {name}", "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        state: State = "optional" if optional else "missing"
        return Finding(f"package {name}", state, "not installed", f"install requirements/{extra}.txt")


def _weights() -> Finding:
    thing = "embedding model"
    return _tried(thing, _find_weights, "install requirements/local.txt")


def _find_weights() -> str:
    from lectern_runtime.adapters import minilm_files

    return f"{minilm_files.MODEL}, sha256 {minilm_files.find(None).revision[:12]}"


def _tried(thing: str, look: Callable[[], str], next_step: str) -> Finding:
    try:
        return Finding(thing, "ok", look())
    except (LecternError, ImportError) as error:
        return Finding(thing, "missing", str(error), next_step)


def _data_directory(path: Path) -> Finding:
    parent = next(candidate for candidate in (path, *path.absolute().parents) if candidate.exists())
    if parent.is_dir() and os.access(parent, os.W_OK):
        seen = "exists" if path.exists() else "will be made"
        return Finding(f"data directory {path}", "ok", seen)
    return Finding(f"data directory {path}", "missing", f"{parent} cannot be written", "choose another with --data-dir")


def _disk(path: Path) -> Finding:
    parent = next(candidate for candidate in (path, *path.absolute().parents) if candidate.exists())
    free = shutil.disk_usage(parent).free
    seen = f"{free / (1 << 30):.1f} GiB free"
    if free >= MIN_FREE_BYTES:
        return Finding("disk", "ok", seen)
    return Finding("disk", "missing", seen, "free at least 1 GiB, or choose another --data-dir")


def _command(name: str, purpose: str) -> Finding:
    found = shutil.which(name)
    return Finding(name, "ok", found) if found else Finding(name, "optional", "not found", f"needed only {purpose}")


def _kubeconfig() -> Finding:
    path = Path(os.environ.get("KUBECONFIG", "~/.kube/config")).expanduser()
    if path.exists():
        return Finding("kubeconfig", "ok", str(path))
    return Finding("kubeconfig", "optional", "not found", "needed only for the operator; set KUBECONFIG")
