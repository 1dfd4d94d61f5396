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

from lectern_contract.resources import IngestionSource, KnowledgeBase, RagEndpoint, parse_as
from lectern_operator.desired import connector, query
from lectern_operator.desired import knowledge_base as desired
from lectern_operator_tests import worlds

Manifests = list[dict[str, Any]]
DIRECTORY = Path(__file__).parent / "golden"
DOCUMENTS = {(each["kind"], each["metadata"]["name"]): each for each in worlds.samples("full", "minimal")}
TEST = {"namespace": "team", "generation": 1}


def knowledge_base(name: str) -> KnowledgeBase:
    document = DOCUMENTS["KnowledgeBase", name]
    return parse_as(KnowledgeBase, {**document, "metadata": {"name": name, "uid": f"uid-of-{name}", **TEST}})


def made_of_knowledge_base(name: str, replicas: int | None, *, scaled: bool) -> Manifests:
    kb = knowledge_base(name)
    return desired.manifests(kb, generation=1, replicas=replicas, scaled=scaled, images=worlds.IMAGES)


def made_of_source(name: str) -> Manifests:
    document = DOCUMENTS["IngestionSource", name]
    source = parse_as(IngestionSource, {**document, "metadata": {"name": name, "uid": f"uid-of-{name}", **TEST}})
    kb = knowledge_base(source.spec.knowledge_base_ref)
    return connector.manifests(source, kb, run="5f3a9c01d2", request="2026-11-21", images=worlds.IMAGES)


def made_of_endpoint(name: str) -> Manifests:
    document = DOCUMENTS["RagEndpoint", name]
    endpoint = parse_as(RagEndpoint, {**document, "metadata": {"name": name, "uid": f"uid-of-{name}", **TEST}})
    known = {each: knowledge_base(each) for each in endpoint.spec.knowledge_base_refs}
    return query.manifests(endpoint, known, replicas=2, images=worlds.IMAGES)


CASES: dict[str, Callable[[], Manifests]] = {
    "knowledge-base-minimal": lambda: made_of_knowledge_base("handbook", None, scaled=True),
    "knowledge-base-without-keda": lambda: made_of_knowledge_base("handbook", 1, scaled=False),
    "knowledge-base-managed": lambda: made_of_knowledge_base("engineering", None, scaled=True),
    "knowledge-base-external": lambda: made_of_knowledge_base("support", None, scaled=True),
    "ingestion-source-minimal": lambda: made_of_source("handbook-files"),
    "ingestion-source-scheduled": lambda: made_of_source("files"),
    "rag-endpoint-minimal": lambda: made_of_endpoint("handbook"),
    "rag-endpoint-two-knowledge-bases": lambda: made_of_endpoint("assistant"),
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
