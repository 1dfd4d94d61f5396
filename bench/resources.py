"""The resources that the benchmarks run: nothing but what must be said, so that every default is the shipped one.

In one process they become settings with `lectern_contract.wiring`, for `lectern up` they are written as YAML. The only
choice made here is who may ask, because the default is nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lectern_contract.resources import IngestionSource, KnowledgeBase, RagEndpoint, parse_as
from lectern_contract.resources.common import API_VERSION
from lectern_contract.scope import Partition
from lectern_runtime.adapters import minilm_files
from lectern_runtime.adapters.onnx import DIMENSIONS

NAME = "bench"
CLAIM = "bench-documents"
PARTITION = Partition("bench", "public")


def documents() -> list[dict[str, Any]]:
    """Return knowledge base, source and endpoint as a user would write them."""
    return [
        _resource("KnowledgeBase", {"embedding": {"model": minilm_files.MODEL, "dimensions": DIMENSIONS}}),
        _resource(
            "IngestionSource",
            {
                "knowledgeBaseRef": NAME,
                "persistentVolume": {"claimName": CLAIM},
                "partition": {"tenant": PARTITION.tenant},
            },
        ),
        _resource(
            "RagEndpoint",
            {
                "knowledgeBaseRefs": [NAME],
                "auth": {
                    "anonymous": {"tenant": PARTITION.tenant, "accessLevels": [PARTITION.access_level]},
                },
            },
        ),
    ]


def _resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": NAME}, "spec": spec}


def knowledge_base() -> KnowledgeBase:
    """Return the knowledge base as the programs see it."""
    return parse_as(KnowledgeBase, documents()[0])


def source() -> IngestionSource:
    """Return the source as the programs see it."""
    return parse_as(IngestionSource, documents()[1])


def endpoint() -> RagEndpoint:
    """Return the endpoint as the programs see it; it has no answer cache, which is the default."""
    return parse_as(RagEndpoint, documents()[2])


def write(directory: Path) -> Path:
    """Write all three into one file for `lectern up -f` and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "resources.yaml"
    path.write_text(yaml.safe_dump_all(documents(), sort_keys=False))
    return path
