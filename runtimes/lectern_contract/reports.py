"""What a connector run says at its end: one JSON value that fits a container's termination message.

The connector writes it, the operator reads it into `status.lastRun`, and `lectern up` shows it; a run
therefore needs no rights in Kubernetes. It names documents and reasons, never document text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lectern_contract.errors import ConfigurationError

MAX_REPORT_BYTES = 4096
"""What Kubernetes keeps of a termination message."""
MAX_FAILURES = 8
MAX_MESSAGE = 1024


class RunMode(StrEnum):
    """What a run of a connector does; on its command line the value is written in small letters."""

    SYNC = "Sync"
    """Hand over what changed since the last run."""
    FULL = "Full"
    """Read and hand over every document again, changed or not."""
    REPLAY = "Replay"
    """Hand over again what the workers gave up, where the source still stands as it did then."""


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DocumentFailure(_Report):
    """One document that the run could not hand over; it is tried again by the next run."""

    uri: str = Field(max_length=256, description="Which document, shortened.")
    reason: str = Field(max_length=64, description="Class of the failure, one word.")
    detail: str = Field(default="", max_length=256, description="The failure as a sentence.")


class RunReport(_Report):
    """How one run of a connector ended. `listed` = `published` + `unchanged` + `failed`, but for folders.

    A folder that could not be listed counts as one failure and as nothing listed. A replay counts dead letters where
    other runs count documents: `published` were handed over again, `unchanged` are out of date or named twice.
    """

    schema_version: Literal[1] = 1
    source: str = Field(max_length=128, description="Namespace and name of the IngestionSource.")
    mode: RunMode = Field(default=RunMode.SYNC, description="What the run was to do.")
    result: Literal["Succeeded", "Failed"] = Field(description="Failed: the run ended early and changed no manifest.")
    reason: str = Field(default="", max_length=64, description="Why the run failed, one word.")
    message: str = Field(default="", max_length=MAX_MESSAGE, description="How it went, as a sentence.")
    started_at: str = Field(max_length=40, description="Start, RFC 3339 in UTC.")
    finished_at: str = Field(max_length=40, description="End, RFC 3339 in UTC.")
    listed: int = Field(default=0, ge=0, description="Documents that the source named: all, or the changed ones.")
    published: int = Field(default=0, ge=0, description="Documents that were new, changed or moved.")
    moved: int = Field(default=0, ge=0, description="Of the published ones: now for other readers.")
    deleted: int = Field(default=0, ge=0, description="Documents that were gone.")
    unchanged: int = Field(default=0, ge=0, description="Documents that needed nothing.")
    failed: int = Field(default=0, ge=0, description="Documents that could not be handed over.")
    documents: int = Field(default=0, ge=0, description="Documents that stand handed over, named by this run or not.")
    failures_by_reason: dict[str, int] = Field(default_factory=dict, description="Failed documents by reason.")
    failures: tuple[DocumentFailure, ...] = Field(default=(), max_length=MAX_FAILURES, description="The first ones.")
    unused_rules: tuple[str, ...] = Field(default=(), description="Path prefixes of rules that matched no document.")


def encode(report: RunReport) -> bytes:
    """Bytes of at most `MAX_REPORT_BYTES`; examples are left out, last first, until it fits."""
    data = _dump(report)
    while len(data) > MAX_REPORT_BYTES:
        report = _smaller(report)
        data = _dump(report)
    return data


def decode(data: bytes) -> RunReport:
    """The report in `data`. Raises `ConfigurationError` for anything else, such as a log line."""
    try:
        return RunReport.model_validate_json(data)
    except ValidationError as error:
        raise ConfigurationError(
            "the termination message is not the report of a run; the operator and the connector's image must be of "
            "one release"
        ) from error


def _dump(report: RunReport) -> bytes:
    return report.model_dump_json(exclude_defaults=True).encode()


def _smaller(report: RunReport) -> RunReport:
    if report.failures:
        return report.model_copy(update={"failures": report.failures[:-1]})
    if report.unused_rules:
        return report.model_copy(update={"unused_rules": report.unused_rules[:-1]})
    if report.failures_by_reason:
        kept = list(report.failures_by_reason.items())[:-1]
        return report.model_copy(update={"failures_by_reason": dict(kept)})
    return report.model_copy(update={"message": report.message[: len(report.message) // 2]})
