"""Resources of the tests of the command, written as files, with one thing at a time made wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SPECS: dict[str, dict[str, Any]] = {
    "KnowledgeBase": {"embedding": {"model": MODEL, "dimensions": 384}},
    "IngestionSource": {
        "knowledgeBaseRef": "docs",
        "persistentVolume": {"claimName": "files"},
        "partition": {"tenant": "acme"},
    },
    "RagEndpoint": {
        "knowledgeBaseRefs": ["docs"],
        "auth": {"anonymous": {"tenant": "acme", "accessLevels": ["public"]}},
    },
}


def body(kind: str, name: str = "docs", **spec: Any) -> dict[str, Any]:
    """A resource; a field of `spec` that is None is left out."""
    fields = {key: value for key, value in {**SPECS[kind], **spec}.items() if value is not None}
    return {"apiVersion": "lectern.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": fields}


@dataclass(frozen=True)
class Laptop:
    """A directory with resources and documents."""

    root: Path

    @property
    def data(self) -> Path:
        """Where the state would be kept."""
        return self.root / "data"

    @property
    def arguments(self) -> list[str]:
        """Options of `lectern up` that fit."""
        files = ["-f", str(self.root / "resources"), "--mount", f"files={self.root / 'documents'}"]
        return [*files, "--data-dir", str(self.data)]

    def apply(self, kind: str, name: str = "docs", **spec: Any) -> None:
        """Write a resource as a file of its own."""
        self.write(f"{kind}-{name}.json", json.dumps(body(kind, name, **spec)))

    def write(self, name: str, text: str) -> None:
        """Write a file beside the resources."""
        path = self.root / "resources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def make(root: Path) -> Laptop:
    """A laptop on which everything is right."""
    (root / "documents").mkdir()
    laptop = Laptop(root)
    for kind in SPECS:
        laptop.apply(kind)
    return laptop
