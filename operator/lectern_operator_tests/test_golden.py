"""Manifests of the samples, byte for byte: what a change of a builder does to a cluster is seen in the review.

`LECTERN_UPDATE_GOLDEN=1 pytest ...test_golden.py` writes the files anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lectern_contract import labels
from lectern_contract.reports import RunMode
from lectern_contract.resources import IngestionSource, KnowledgeBase, RagEndpoint, parse_as
from lectern_operator.desired import connector, rag_endpoint, receiver
from lectern_operator.desired import knowledge_base as desired
from lectern_operator.desired.connector import AskedRun
from lectern_operator_tests import worlds

Manifests = list[dict[str, Any]]
DIRECTORY = Path(__file__).parent / "golden"
DOCUMENTS = {(each["kind"], each["metadata"]["name"]): each for each in worlds.samples("full", "minimal")}
TEST = {"namespace": "team", "generation": 1}


def knowledge_base(name: str, **paths: Any) -> KnowledgeBase:
    document = worlds.changed(DOCUMENTS["KnowledgeBase", name], **paths)
    return parse_as(KnowledgeBase, {**document, "metadata": {"name": name, "uid": f"uid-of-{name}", **TEST}})


def made_of_knowledge_base(
    name: str, replicas: int | None, *, scaled: bool, monitored: bool = False, **paths: Any
) -> Manifests:
    kb = knowledge_base(name, **paths)
    return desired.manifests(
        kb, generation=1, replicas=replicas, scaled=scaled, monitored=monitored, images=worlds.IMAGES
    )


def made_of_source(name: str) -> Manifests:
    document = DOCUMENTS["IngestionSource", name]
    source = parse_as(IngestionSource, {**document, "metadata": {"name": name, "uid": f"uid-of-{name}", **TEST}})
    kb = knowledge_base(source.spec.knowledge_base_ref)
    if source.spec.push is not None:
        return receiver.manifests(source, kb, images=worlds.IMAGES)
    run = AskedRun("5f3a9c01d2", RunMode.FULL, {labels.FULL_RESYNC_REQUEST: "2026-11-21"})
    return connector.manifests(source, kb, run=run, held=True, images=worlds.IMAGES)


def made_of_endpoint(name: str, replicas: int | None = 2, **paths: Any) -> Manifests:
    document = worlds.changed(DOCUMENTS["RagEndpoint", name], **paths)
    endpoint = parse_as(RagEndpoint, {**document, "metadata": {"name": name, "uid": f"uid-of-{name}", **TEST}})
    known = {each: knowledge_base(each) for each in endpoint.spec.knowledge_base_refs}
    scaling = endpoint.spec.generation is not None and endpoint.spec.generation.scaling is not None
    return rag_endpoint.manifests(
        endpoint,
        known,
        replicas=None if endpoint.spec.autoscaling else replicas,
        generators=None if scaling else 1,
        scaled=scaling,
        monitored=name != "handbook",
        salt="c2FsdA==" if scaling else None,
        images=worlds.IMAGES,
    )


CASES: dict[str, Callable[[], Manifests]] = {
    "knowledge-base-minimal": lambda: made_of_knowledge_base("handbook", None, scaled=True),
    "knowledge-base-without-keda": lambda: made_of_knowledge_base("handbook", 1, scaled=False),
    "knowledge-base-managed": lambda: made_of_knowledge_base("engineering", None, scaled=True, monitored=True),
    "knowledge-base-vllm": lambda: made_of_knowledge_base(
        "engineering",
        0,
        scaled=False,
        embedding__server__managed={"engine": "Vllm", "accelerator": {}, "modelCache": {"size": "40Gi"}},
        networkPolicy__enabled=False,
    ),
    "knowledge-base-external": lambda: made_of_knowledge_base("support", None, scaled=True),
    "ingestion-source-minimal": lambda: made_of_source("handbook-files"),
    "ingestion-source-pushed": lambda: made_of_source("callers"),
    "ingestion-source-scheduled": lambda: made_of_source("files"),
    "rag-endpoint-minimal": lambda: made_of_endpoint("handbook"),
    "rag-endpoint-external": lambda: made_of_endpoint("helpdesk", 3),
    "rag-endpoint-managed": lambda: made_of_endpoint("assistant", networkPolicy__enabled=True),
    "rag-endpoint-open": lambda: made_of_endpoint(
        "assistant", generation__scaling=None, autoscaling=None, exposure=None, reranker=None
    ),
}


class _Readable(yaml.SafeDumper):
    """Writes a text of several lines as it reads."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)


@pytest.mark.parametrize("case", CASES)
def test_manifests_are_the_golden_ones(case: str) -> None:
    text = yaml.dump_all(CASES[case](), Dumper=_Readable, sort_keys=True, width=110)
    file = DIRECTORY / f"{case}.yaml"
    if os.environ.get("LECTERN_UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text(), f"{file.name} is not what the builders make; LECTERN_UPDATE_GOLDEN=1 writes it"


@pytest.mark.parametrize("case", CASES)
def test_equal_input_gives_equal_bytes(case: str) -> None:
    assert yaml.dump_all(CASES[case](), sort_keys=False) == yaml.dump_all(CASES[case](), sort_keys=False)


def test_every_golden_file_has_a_case() -> None:
    assert {file.stem for file in DIRECTORY.glob("*.yaml")} == set(CASES)
