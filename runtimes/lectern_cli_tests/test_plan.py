"""The plan: which directory a claim is, which endpoint is served, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lectern_cli import manifests, plan, statuses
from lectern_cli_tests.test_manifests import ENDPOINT, KB, SOURCE, write
from lectern_contract.errors import ConfigurationError
from lectern_contract.source_settings import DirectorySource


def read(directory: Path, **files: str) -> manifests.Manifests:
    (directory / "resources").mkdir()
    return manifests.read(write(directory / "resources", **files))


def test_a_claim_becomes_the_directory_it_is_mounted_to(tmp_path: Path) -> None:
    found = read(tmp_path, kb=KB, source=SOURCE, rag=ENDPOINT)

    made = plan.make(found, mounts={"files": tmp_path}, endpoint=None)

    assert made.connectors["guides"].source == DirectorySource(root=str(tmp_path), path="")
    assert made.query.name == "guides"


@pytest.mark.parametrize(
    ("files", "mounts", "endpoint", "words"),
    [
        ({"rag": ENDPOINT}, {}, None, "--mount files=DIR"),
        ({"rag": ENDPOINT}, {"files": "absent"}, None, "is not a directory"),
        ({"rag": ENDPOINT}, {"files": ".", "other": "."}, None, "no source reads that claim"),
        ({}, {"files": "."}, None, "found 0 (none); add one"),
        ({"rag": ENDPOINT, "b": ENDPOINT.replace("{name: guides}", "{name: b}")}, {"files": "."}, None, "--endpoint"),
        ({"rag": ENDPOINT}, {"files": "."}, "other", "no such RagEndpoint (there is: guides)"),
    ],
)
def test_what_cannot_be_planned_is_said(
    tmp_path: Path, files: dict[str, str], mounts: dict[str, str], endpoint: str | None, words: str
) -> None:
    found = read(tmp_path, kb=KB, source=SOURCE, **files)

    with pytest.raises(ConfigurationError) as caught:
        plan.make(found, mounts={claim: tmp_path / path for claim, path in mounts.items()}, endpoint=endpoint)

    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["files", "=x", "files="])
def test_a_mount_is_written_claim_equals_directory(text: str) -> None:
    with pytest.raises(ConfigurationError, match="CLAIM=DIR"):
        plan.parse_mounts([text])


def test_a_claim_cannot_be_mounted_twice() -> None:
    with pytest.raises(ConfigurationError, match="mounted twice"):
        plan.parse_mounts(["a=/x", "a=/y"])


EXTERNAL = "external: {protocol: TEI, url: 'http://judge'"


@pytest.mark.parametrize(
    ("server", "url", "untold"),
    [
        (EXTERNAL + "}", "http://judge", ""),
        (EXTERNAL + ", apiKeySecretRef: {name: s, key: k}}", None, "spec.reranker.server.external.apiKeySecretRef"),
        (EXTERNAL + ", caSecretRef: {name: s, key: k}}", None, "spec.reranker.server.external.caSecretRef"),
        ("managed: {replicas: 1}", None, "spec.reranker.server.managed"),
    ],
    ids=["within reach", "behind a key", "behind a certificate", "run by the operator"],
)
def test_a_reranker_is_asked_where_it_is_within_reach_and_told_as_unused_where_not(
    tmp_path: Path, server: str, url: str | None, untold: str
) -> None:
    spec = f"spec: {{reranker: {{model: m, server: {{{server}}}}}, "
    found = read(tmp_path, kb=KB, source=SOURCE, rag=ENDPOINT.replace("spec: {", spec))

    made = plan.make(found, mounts={"files": tmp_path}, endpoint=None)

    assert (made.query.reranker.url if made.query.reranker else None) == url
    told = statuses.spec_honored(made.endpoint).message
    assert told == (f"this release does not act on: {untold}" if untold else "")
