"""The samples of `config/samples` as documents, and what a model makes of one, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lectern_contract import resources

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = REPOSITORY / "config" / "samples"


def documents(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every document of a Lectern kind below `folder`, by file and name."""
    found = []
    for file in sorted(folder.rglob("*.yaml")):
        for sample in yaml.safe_load_all(file.read_text()):
            if isinstance(sample, dict) and sample.get("apiVersion") == resources.API_VERSION:
                found.append((f"{file.relative_to(folder)}:{sample['metadata']['name']}", sample))
    return found


def dumped(resource: resources.AnyResource) -> dict[str, Any]:
    """The spec as the model completes it, as the server would write it."""
    return resource.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
