"""Counts what became of the documents of one run and words its report.

`handover.py` tells each result as it happens; `main`, the operator and `lectern up` read the report.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from lectern_contract.errors import ConfigurationError, DataDirectoryError, DependencyError, LecternError
from lectern_contract.reports import MAX_FAILURES, MAX_MESSAGE, DocumentFailure, RunMode, RunReport
from lectern_runtime.ingest.connector import SourceEmpty, SourceUnavailable
from lectern_runtime.moments import rfc3339

EXIT_SUCCEEDED, EXIT_FAILED, EXIT_CONFIGURATION = 0, 1, 2
_CONFIGURATION_REASONS = frozenset({"ConfigurationInvalid", "DataDirectoryUnusable"})


_MOST_REASONS = 64
_OTHER = "Other"


class Stopped(DependencyError):
    """The run was told to stop, as a pod is before it is killed."""

    def __init__(self) -> None:
        super().__init__(
            "the run was told to stop; what it handed over stays, and the next run goes on from there",
            dependency="process",
        )


@dataclass(slots=True)
class Tally:
    """Documents of one run so far, each counted once as published, unchanged or failed; dead letters of a replay."""

    mode: RunMode = RunMode.SYNC
    listed: int = 0
    published: int = 0
    moved: int = 0
    deleted: int = 0
    unchanged: int = 0
    documents: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[DocumentFailure] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Documents that could not be handed over."""
        return self.reasons.total()

    def fail(self, uri: str, reason: str, detail: str) -> None:
        """Count a document as failed, and keep the first few for the report."""
        reason = _text(reason)[:64]
        known = reason in self.reasons or len(self.reasons) < _MOST_REASONS
        self.reasons[reason if known else _OTHER] += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(
                DocumentFailure(uri=_text(uri[:256])[:256], reason=reason, detail=_text(detail[:256])[:256])
            )

    def succeeded(self, source: str, *, began: float, ended: float, unused_rules: tuple[str, ...]) -> RunReport:
        """The report of a run that saw the whole source."""
        return self._report(
            source, began, ended, result="Succeeded", reason="", message=self._sentence(), unused_rules=unused_rules
        )

    def replayed(self, source: str, *, began: float, ended: float, unreadable: int, left: bool) -> RunReport:
        """The report of a replay; `left` says that it stopped at its bound."""
        said = f"{self.published} of {self.listed} dead letters handed over again"
        said += f", {self.unchanged} passed over as out of date or named twice" if self.unchanged else ""
        said += f"; {unreadable} cannot be read, by whichever source" if unreadable else ""
        said += "; more are waiting: ask for another replay" if left else ""
        return self._report(source, began, ended, result="Succeeded", reason="", message=said)

    def stopped(self, source: str, error: LecternError, *, began: float, ended: float) -> RunReport:
        """The report of a run that ended early; the next one does its work again."""
        return self._report(
            source, began, ended, result="Failed", reason=_reason(error), message=str(error)[:MAX_MESSAGE]
        )

    def _report(self, source: str, began: float, ended: float, **more: object) -> RunReport:
        return RunReport.model_validate(
            {
                "source": source,
                "mode": self.mode,
                "started_at": rfc3339(began),
                "finished_at": rfc3339(ended),
                "listed": self.listed,
                "published": self.published,
                "moved": self.moved,
                "deleted": self.deleted,
                "unchanged": self.unchanged,
                "documents": self.documents,
                "failed": self.failed,
                "failures_by_reason": dict(self.reasons.most_common(32)),
                "failures": tuple(self.failures),
                **more,
            }
        )

    def _sentence(self) -> str:
        done = f"{self.published} published, {self.deleted} deleted, {self.unchanged} unchanged, {self.failed} failed"
        if not self.failures:
            return done
        first = "; ".join(f"{failure.uri}: {failure.reason}, {failure.detail}" for failure in self.failures[:3])
        return f"{done}; {first}"[:MAX_MESSAGE]


def _text(value: str) -> str:
    """`value` with halves of surrogate pairs spelled out, which no JSON may hold."""
    return value.encode("utf-8", "backslashreplace").decode()


def exit_status(report: RunReport) -> int:
    """0 for a run that saw the whole source, 2 when the person who wrote the resource must act, else 1."""
    if report.result == "Succeeded":
        return EXIT_SUCCEEDED
    return EXIT_CONFIGURATION if report.reason in _CONFIGURATION_REASONS else EXIT_FAILED


def _reason(error: LecternError) -> str:
    match error:
        case Stopped():
            return "Stopped"
        case SourceEmpty():
            return "SourceEmpty"
        case SourceUnavailable():
            return "SourceUnavailable"
        case DataDirectoryError():
            return "DataDirectoryUnusable"
        case ConfigurationError():
            return "ConfigurationInvalid"
        case _:
            return "DependencyFailed"
