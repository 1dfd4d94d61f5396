"""The report of a run: it always fits a termination message and comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract import reports
from lectern_contract.errors import ConfigurationError
from lectern_contract.reports import DocumentFailure, RunReport

WORDS = st.text(max_size=256)
FAILURES = st.builds(DocumentFailure, uri=WORDS, reason=st.text(max_size=64), detail=WORDS)
REPORTS = st.builds(
    RunReport,
    source=st.text(max_size=128),
    result=st.sampled_from(["Succeeded", "Failed"]),
    message=st.text(max_size=1024),
    started_at=st.text(max_size=40),
    finished_at=st.text(max_size=40),
    listed=st.integers(0, 10**12),
    failures_by_reason=st.dictionaries(st.text(max_size=64), st.integers(0, 10**9), max_size=32),
    failures=st.lists(FAILURES, max_size=reports.MAX_FAILURES).map(tuple),
    unused_rules=st.lists(st.text(max_size=1024), max_size=20).map(tuple),
)


@given(REPORTS)
def test_a_report_fits_and_keeps_what_counts(report: RunReport) -> None:
    data = reports.encode(report)
    assert len(data) <= reports.MAX_REPORT_BYTES
    back = reports.decode(data)
    assert (back.result, back.listed, back.source) == (report.result, report.listed, report.source)
    assert back.failures == report.failures[: len(back.failures)]


@given(REPORTS.filter(lambda report: len(report.model_dump_json()) < 2000))
def test_a_small_report_comes_back_whole(report: RunReport) -> None:
    assert reports.decode(reports.encode(report)) == report


def test_a_log_line_is_no_report() -> None:
    with pytest.raises(ConfigurationError, match="not the report of a run"):
        reports.decode(b"Traceback (most recent call last)")
