"""The pure rules of ingestion: globs, partitions, media types, steps and the registry of connectors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract.errors import ConfigurationError
from lectern_contract.scope import Partition
from lectern_contract.settings import ConnectorSettings, PartitionRuleSettings, PartitionSettings
from lectern_runtime.ingest import changes, media_types
from lectern_runtime.ingest.changes import Candidate, Step
from lectern_runtime.ingest.connector import Listed
from lectern_runtime.ingest.connectors import CONNECTORS
from lectern_runtime.ingest.globs import Selection
from lectern_runtime.ingest.manifest import Entry
from lectern_runtime.ingest.partitions import PartitionRules
from lectern_runtime_tests.pipeline import connector_settings


def test_the_registry_has_one_connector_for_each_kind_of_source_in_alphabetical_order() -> None:
    annotation: Any = ConnectorSettings.model_fields["source"].annotation
    kinds = [member.model_fields["kind"].default for member in get_args(annotation)]
    assert list(CONNECTORS) == sorted(kinds)


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("**", "a/b/c.md", True),
        ("**/*.md", "c.md", True),
        ("**/*.md", "a/b/c.md", True),
        ("*.md", "a/c.md", False),
        ("*.md", "c.md", True),
        ("docs/**", "docs/a/b.md", True),
        ("docs/**", "docs.md", False),
        ("docs/", "docs/a.md", True),
        ("docs/", "docs", False),
        ("docs/**/old/*.md", "docs/old/a.md", True),
        ("docs/**/old/*.md", "docs/x/y/old/a.md", True),
        ("docs/**/old/*.md", "docs/x/old/y/a.md", False),
        ("**/a/**/b", "a/x/a/b", True),
        ("**/a/**/b", "b/a", False),
        ("[ab]?.md", "ax.md", True),
        ("[!ab].md", "a.md", False),
        ("A.md", "a.md", False),
        ("two\nlines*", "two\nlines.md", True),
        ("/a.md", "a.md", True),
    ],
)
def test_globs(glob: str, path: str, matches: bool) -> None:
    assert Selection([glob], []).admits(path) is matches
    assert Selection(["**"], [glob]).admits(path) is not matches


def test_a_hostile_glob_takes_no_time() -> None:
    began = time.perf_counter()
    assert not Selection(["*a" * 200 + "b", "**/a/" * 100 + "x"], []).admits("a/" * 1000 + "a" * 1000)
    assert time.perf_counter() - began < 2


def rules(*prefixes: str) -> PartitionRules:
    found = tuple(
        PartitionRuleSettings(path_prefix=prefix, tenant=f"t{number}", access_level="internal")
        for number, prefix in enumerate(prefixes)
    )
    return PartitionRules(connector_settings(Path("/x"), partition_rules=found))


@pytest.mark.parametrize(
    ("path", "tenant"),
    [
        ("hr/pay.md", "t0"),
        ("hr", "t0"),
        ("hr-public/x.md", "acme"),
        ("hr/board/x.md", "t1"),
        ("hr/boarding/x.md", "t0"),
        ("x/hr/a.md", "acme"),
        ("finance/a.md", "t2"),
    ],
)
def test_the_longest_prefix_of_whole_parts_decides(path: str, tenant: str) -> None:
    assert rules("hr", "hr/board", "/finance/").of(path).tenant == tenant


def test_rules_that_match_nothing_are_reported_as_they_were_written() -> None:
    found = rules("hr/", "hr/board")
    found.of("hr/x.md")
    assert found.unused() == ("hr/board",)


def test_a_rule_for_the_root_covers_all() -> None:
    assert rules("/").of("a/b.md") == Partition("t0", "internal")


def test_an_unknown_access_level_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ConfigurationError, match=r"spec\.partition\.accessLevel 'secret' is not an access level of"):
        PartitionRules(
            connector_settings(Path("/x"), partition=PartitionSettings(tenant="acme", access_level="secret"))
        )


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.MD", "text/markdown"),
        ("a/b.htm", "text/html"),
        ("a.txt", "text/plain"),
        ("a.pdf", "application/pdf"),
        ("a.png", "image/png"),
        ("README", None),
        (".md", None),
        ("a.unknown-suffix", None),
        ("dir.md/README", None),
    ],
)
def test_media_types_by_name(name: str, media_type: str | None) -> None:
    assert media_types.by_name(name) == media_type


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"plain words", "text/plain"),
        (b"", "text/plain"),
        (b"  <!DOCTYPE html><p>", "text/html"),
        (b"\xff\xfeh\x00i\x00", "text/plain"),
        (b"%PDF-1.7", "application/pdf"),
        (b"a\x00b", "application/octet-stream"),
    ],
)
def test_media_types_by_content(data: bytes, media_type: str) -> None:
    assert media_types.by_content(data) == media_type


def test_an_offer_may_be_a_family() -> None:
    assert media_types.accepted("text/csv", ["text/*"])
    assert not media_types.accepted("text/csv", ["text/plain", "image/*"])


PUBLIC, INTERNAL = Partition("acme", "public"), Partition("acme", "internal")


def candidate(
    *, etag: str = "e", known: str | None = "e", partition: Partition = PUBLIC, said: bool = True
) -> Candidate:
    entry = (
        Entry(etag=known, sha256="s", size=1, media_type="text/plain", tenant="acme", access_level="public")
        if known is not None
        else None
    )
    return Candidate(Listed("u", "u", etag, 1), partition, "text/plain", entry, said)


@pytest.mark.parametrize(
    ("case", "step"),
    [
        (candidate(), Step.NOTHING),
        (candidate(known=None), Step.READ),
        (candidate(etag="f"), Step.READ),
        (candidate(etag="", known=""), Step.READ),
        (candidate(partition=INTERNAL), Step.PUBLISH),
        (candidate(said=False), Step.PUBLISH),
        (candidate(partition=INTERNAL, etag="f"), Step.READ),
    ],
)
def test_what_a_listed_document_needs(case: Candidate, step: Step) -> None:
    assert changes.step(case) is step


@given(st.sampled_from(["s", "t"]), st.booleans(), st.sampled_from([PUBLIC, INTERNAL]))
def test_nothing_is_said_again_only_when_bytes_readers_and_settings_are_the_same(
    sha256: str, said: bool, partition: Partition
) -> None:
    same = changes.same_message(candidate(said=said, partition=partition), sha256, "text/plain", "")
    assert same == (sha256 == "s" and said and partition == PUBLIC)
