"""Resources and worlds that the tests start from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lectern_contract import resources
from lectern_contract.resources import IngestionSource, KnowledgeBase, RagEndpoint, parse_as
from lectern_operator.desired.images import Images

Document = dict[str, Any]
ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "config" / "samples"
IMAGES = Images(
    worker="lectern-worker:test",
    connector="lectern-ingest:test",
    query="lectern-query:test",
    text_embeddings="text-embeddings-inference",
    vllm="vllm-openai:test",
    vllm_cpu="vllm-cpu:test",
    pull_secrets=("registry",),
    monitor_labels=(("release", "prometheus"),),
)

KNOWLEDGE_BASE: Document = {
    "apiVersion": resources.API_VERSION,
    "kind": "KnowledgeBase",
    "metadata": {"name": "docs", "namespace": "team", "uid": "uid-kb", "generation": 1},
    "spec": {
        "embedding": {
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "dimensions": 384,
            "server": {"managed": {}},
        },
        "vectorStore": {"url": "http://qdrant:6333"},
        "messaging": {"bootstrapServers": "kafka:9092"},
        "blobStore": {"persistentVolume": {"claimName": "blobs"}},
    },
}
SOURCE: Document = {
    "apiVersion": resources.API_VERSION,
    "kind": "IngestionSource",
    "metadata": {"name": "guides", "namespace": "team", "uid": "uid-isrc", "generation": 1},
    "spec": {
        "knowledgeBaseRef": "docs",
        "persistentVolume": {"claimName": "guides"},
        "partition": {"tenant": "acme"},
    },
}
ENDPOINT: Document = {
    "apiVersion": resources.API_VERSION,
    "kind": "RagEndpoint",
    "metadata": {"name": "ask", "namespace": "team", "uid": "uid-rag", "generation": 1},
    "spec": {
        "knowledgeBaseRefs": ["docs"],
        "auth": {"anonymous": {"tenant": "acme", "accessLevels": ["public"]}},
    },
}


def changed(document: Mapping[str, Any], **paths: Any) -> Document:
    """Return a copy of `document` with spec fields set; `a__b=1` sets `spec.a.b`, None removes the field."""
    result = copy.deepcopy(dict(document))
    for path, value in paths.items():
        *parents, last = path.split("__")
        place = result["spec"]
        for part in parents:
            place = place.setdefault(part, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return result


def knowledge_base(**paths: Any) -> KnowledgeBase:
    """Return the knowledge base of the tests with spec fields set."""
    return parse_as(KnowledgeBase, changed(KNOWLEDGE_BASE, **paths))


def source(**paths: Any) -> IngestionSource:
    """Return the source of the tests with spec fields set."""
    return parse_as(IngestionSource, changed(SOURCE, **paths))


def endpoint(**paths: Any) -> RagEndpoint:
    """Return the endpoint of the tests with spec fields set."""
    return parse_as(RagEndpoint, changed(ENDPOINT, **paths))


def samples(*directories: str) -> list[Document]:
    """Return the documents of the samples in these directories."""
    files = [file for name in directories for file in sorted((SAMPLES / name).glob("*.yaml"))]
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text())]
    return [document for document in documents if isinstance(document, dict) and "apiVersion" in document]
