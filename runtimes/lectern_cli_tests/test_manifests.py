"""Manifests: what is read, and the sentence for everything that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from lectern_cli import manifests
from lectern_contract.errors import ConfigurationError

KB = """
apiVersion: lectern.dev/v1alpha1
kind: KnowledgeBase
metadata: {name: guides}
spec: {embedding: {model: a/b, dimensions: 384}}
"""
SOURCE = """
apiVersion: lectern.dev/v1alpha1
kind: IngestionSource
metadata: {name: guides}
spec:
  knowledgeBaseRef: guides
  persistentVolume: {claimName: files}
  partition: {tenant: acme}
"""
ENDPOINT = """
apiVersion: lectern.dev/v1alpha1
kind: RagEndpoint
metadata: {name: guides}
spec: {knowledgeBaseRefs: [guides]}
"""
CLAIM = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: files}\n"


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text)
    return directory


def test_a_directory_of_resources_is_read_with_its_subdirectories(tmp_path: Path) -> None:
    write(tmp_path, kb=KB, both=f"{SOURCE}\n---\n{CLAIM}")
    (tmp_path / "more").mkdir()
    write(tmp_path / "more", rag=ENDPOINT)

    read = manifests.read(tmp_path)

    assert (list(read.knowledge_bases), list(read.sources), list(read.endpoints)) == (
        ["guides"],
        ["guides"],
        ["guides"],
    )
    assert len(read.others) == 1
    assert read.others[0].startswith("PersistentVolumeClaim in ")


def test_a_single_file_is_read(tmp_path: Path) -> None:
    write(tmp_path, all="---".join((KB, SOURCE, ENDPOINT)))

    assert list(manifests.read(tmp_path / "all.yaml").endpoints) == ["guides"]


WRONG = {
    "not YAML": ({"kb": "kind: [unclosed"}, ("kb.yaml", "not valid YAML", "line 1")),
    "tab": ({"kb": "a:\n\t- b"}, ("kb.yaml", "not valid YAML", "line 2")),
    "a list": ({"kb": "- 1\n- 2"}, ("kb.yaml", "expected a resource", "a list")),
    "a text": ({"kb": "hello"}, ("kb.yaml", "expected a resource", "a text")),
    "no kind": ({"kb": "metadata: {name: x}"}, ("kb.yaml", "apiVersion and kind are missing")),
    "unknown kind": ({"kb": KB.replace("KnowledgeBase", "KnowledgBase")}, ("unknown kind 'KnowledgBase'",)),
    "unknown version": ({"kb": KB.replace("v1alpha1", "v9")}, ("apiVersion", "lectern.dev/v1alpha1")),
    "unknown field": ({"kb": KB.replace("dimensions", "dimension")}, ("spec.embedding.dimension",)),
    "wrong type": ({"kb": KB.replace("384", "'384'")}, ("spec.embedding.dimensions", "integer")),
    "a date": ({"kb": KB.replace("a/b", "2026-01-01")}, ("quotes",)),
    "two of one name": ({"a": KB, "b": KB}, ("KnowledgeBase/guides is already defined in", "a.yaml")),
    "reference to nothing": ({"a": SOURCE}, ("IngestionSource/guides", "knowledgeBaseRef", "there is: none")),
    "endpoint of nothing": (
        {"a": KB, "b": ENDPOINT.replace("[guides]", "[other]")},
        ("RagEndpoint/guides", "'other'", "there is: guides"),
    ),
    "two namespaces": (
        {"a": KB, "b": SOURCE.replace("{name: guides}", "{name: guides, namespace: b}")},
        ("several namespaces",),
    ),
    "nothing of ours": ({"a": CLAIM}, ("no resource of lectern.dev",)),
    "empty": ({}, ("no .yaml, .yml, .json file",)),
}


@pytest.mark.parametrize(("files", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_read_is_said_with_file_and_cause(
    tmp_path: Path, files: dict[str, str], words: tuple[str, ...]
) -> None:
    write(tmp_path, **files)

    with pytest.raises(ConfigurationError) as caught:
        manifests.read(tmp_path)

    assert [word for word in words if word not in str(caught.value)] == []


def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file or directory"):
        manifests.read(tmp_path / "nothing")


def test_a_file_that_is_not_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "kb.yaml").write_bytes(b"\xff\xfe\x00\x01")

    with pytest.raises(ConfigurationError, match="not UTF-8"):
        manifests.read(tmp_path)


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "kb.yaml").write_text("#" * (manifests.MAX_FILE_BYTES + 1))

    with pytest.raises(ConfigurationError, match="larger than"):
        manifests.read(tmp_path)
