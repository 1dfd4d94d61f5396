"""Every metric that operators are promised exists, is in the reference, and has labels of few values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import metrics_reference

ROOT = Path(__file__).parent.parent
PROMISED = {
    "documents by source and result": ("Embedding worker", "rag_ingestion_events_total", ("source", "status")),
    "documents of runs by source and result": (
        "Connector",
        "lectern_connector_documents_total",
        ("source", "result"),
    ),
    "stage durations": ("Embedding worker", "lectern_worker_stage_seconds", ("stage",)),
    "lag": ("Embedding worker", "lectern_worker_lag_messages", ()),
    "dead letters": ("Embedding worker", "lectern_worker_dead_letters_total", ("reason",)),
    "freshness seconds": ("Embedding worker", "rag_freshness_seconds", ("source",)),
    "embed tokens": ("Embedding worker", "lectern_worker_embedded_tokens_total", ()),
    "cache hits of vectors": ("Embedding worker", "lectern_worker_embedding_cache_hits_total", ("tier",)),
    "cache hits of answers": ("Query service", "rag_cache_hits_total", ("tier",)),
}
# What says which: names that resources give (a process bounds them), and words from tables of this repository.
NAMES = {"source", "endpoint", "file", "reason"}
WORDS = {"status", "result", "stage", "vector", "tier", "dependency", "action", "route", "outcome", "code"}
OF_ONE_VALUE = {"config_hash", "version"}
OF_TEI = {"method", "err"}


@pytest.mark.parametrize("what", PROMISED)
def test_a_promised_metric_exists_and_is_in_the_reference(what: str) -> None:
    program, name, labels = PROMISED[what]
    found = {metric: given for metric, _, given, _ in metrics_reference.metrics(program)}
    assert found[name] == labels
    assert f"| `{name}` |" in (ROOT / metrics_reference.PATH).read_text()


@pytest.mark.parametrize("program", metrics_reference.PROGRAMS)
def test_labels_say_who_and_which_and_never_what_was_written_or_asked(program: str) -> None:
    for name, _, labels, words in metrics_reference.metrics(program):
        assert set(labels) <= NAMES | WORDS | OF_ONE_VALUE | OF_TEI, name
        assert words.endswith("."), name


def test_the_reference_is_current_and_a_stale_one_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.metrics_reference", "--check", "--root"]
    page = tmp_path / metrics_reference.PATH
    page.parent.mkdir(parents=True)

    current = subprocess.run([*command, "."], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    page.write_text("old")
    stale = subprocess.run([*command, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert (current.returncode, current.stderr) == (0, "")
    assert (stale.returncode, stale.stderr) == (1, "docs/reference/metrics.md is stale: run make generate\n")
    assert page.read_text() == "old"
