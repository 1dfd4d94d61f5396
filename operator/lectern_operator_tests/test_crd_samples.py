"""The samples: each is what its folder promises, and together the full ones set every field that there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lectern_contract import resources
from lectern_operator import crd

SAMPLES = Path(__file__).resolve().parents[2] / "config" / "samples"
KINDS = sorted(resources.KINDS)


def _documents(folder: str) -> list[dict[str, Any]]:
    files = sorted((SAMPLES / folder).glob("*.yaml"))
    found = [document for file in files for document in yaml.safe_load_all(file.read_text())]
    return [document for document in found if document.get("apiVersion") == resources.API_VERSION]


def _leaves(schema: crd.Schema, path: str = "spec") -> Iterator[str]:
    """Every path of a schema that holds a value: texts, numbers, switches, maps and lists of them."""
    inner = schema.get("items", schema)
    if not inner.get("properties"):
        yield path
    for name, child in inner.get("properties", {}).items():
        yield from _leaves(child, f"{path}.{name}")


def _set(value: Any, path: str = "spec") -> Iterator[str]:
    """Every path that a document sets, maps and lists included."""
    yield path
    for name, item in value.items() if isinstance(value, dict) else ():
        yield from _set(item, f"{path}.{name}")
    for item in value if isinstance(value, list) else ():
        yield from _set(item, path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_full_samples_set_every_field(kind: str) -> None:
    leaves = set(_leaves(crd.root_schema(resources.KINDS[kind])["properties"]["spec"]))
    done = {path for sample in _documents("full") if sample["kind"] == kind for path in _set(sample["spec"])}
    assert len(leaves) > 20
    assert sorted(leaves - done) == []


@pytest.mark.parametrize("folder", ["full", "minimal", "quickstart"])
def test_samples_are_accepted_by_the_models_and_name_each_resource_once(folder: str) -> None:
    parsed = [resources.parse(document) for document in _documents(folder)]
    assert {resource.kind_name for resource in parsed} == set(KINDS)
    assert len({(resource.kind_name, resource.name) for resource in parsed}) == len(parsed)


@pytest.mark.parametrize("folder", ["full", "minimal", "quickstart"])
def test_samples_refer_only_to_knowledge_bases_of_their_folder(folder: str) -> None:
    parsed = [resources.parse(document) for document in _documents(folder)]
    there = {resource.name for resource in parsed if isinstance(resource, resources.KnowledgeBase)}
    for resource in parsed:
        if isinstance(resource, resources.IngestionSource):
            assert resource.spec.knowledge_base_ref in there
        elif isinstance(resource, resources.RagEndpoint):
            assert set(resource.spec.knowledge_base_refs) <= there


def test_the_minimal_knowledge_base_has_what_a_cluster_needs_and_no_field_that_has_a_default() -> None:
    (sample,) = (document for document in _documents("minimal") if document["kind"] == "KnowledgeBase")
    resource = resources.parse_as(resources.KnowledgeBase, sample)
    assert None not in (resource.spec.vector_store, resource.spec.messaging, resource.spec.blob_store)
    assert resource.spec.embedding.server is not None
    assert sorted(_set(sample["spec"])) == [
        "spec",
        "spec.blobStore",
        "spec.blobStore.persistentVolume",
        "spec.blobStore.persistentVolume.claimName",
        "spec.embedding",
        "spec.embedding.dimensions",
        "spec.embedding.model",
        "spec.embedding.server",
        "spec.embedding.server.managed",
        "spec.messaging",
        "spec.messaging.bootstrapServers",
        "spec.vectorStore",
        "spec.vectorStore.url",
    ]
