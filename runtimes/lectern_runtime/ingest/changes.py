"""Judges one listed document against what the last run handed over: nothing to do, say it again, or read it.

Pure: `handover.py` hands in what the source lists and what the manifest holds and acts on the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from lectern_contract.scope import Partition
from lectern_runtime.ingest.connector import Listed
from lectern_runtime.ingest.manifest import Entry


class Step(Enum):
    """What a listed document needs."""

    NOTHING = auto()
    PUBLISH = auto()
    """Its bytes are known and stored, but the message about them is another than last time."""
    READ = auto()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A listed document with all that decides about it. `media_type` is None until its bytes were seen.

    `known` is what the last run handed over, `said` whether that still stands word for word but for the
    partition and the bytes (no other topic, no other metadata). `anew` asks for its bytes whatever is known.
    """

    listed: Listed
    partition: Partition
    media_type: str | None
    known: Entry | None
    said: bool
    anew: bool = False

    @property
    def left(self) -> Partition | None:
        """The partition that the document must be deleted from, because it is for other readers now."""
        return self.known.partition if self.known and self.known.partition != self.partition else None


def step(candidate: Candidate) -> Step:
    """What the document needs, as far as the listing tells."""
    known, listed = candidate.known, candidate.listed
    if candidate.anew or known is None or not listed.etag or known.etag != listed.etag:
        return Step.READ
    same = same_message(candidate, known.sha256, known.media_type, known.title)
    return Step.NOTHING if same else Step.PUBLISH


def same_message(candidate: Candidate, sha256: str, media_type: str, title: str) -> bool:
    """Whether the message about these bytes would be the one that was published last."""
    known = candidate.known
    wanted = candidate.media_type or media_type
    return (
        known is not None
        and candidate.said
        and not candidate.anew
        and candidate.left is None
        and known.sha256 == sha256
        and known.media_type == wanted
        and known.title == title
    )


def entry(candidate: Candidate, *, etag: str, sha256: str, size: int, media_type: str, title: str) -> Entry:
    """What the new manifest says of the document once it is handed over."""
    return Entry(
        etag=etag,
        sha256=sha256,
        size=size,
        media_type=media_type,
        tenant=candidate.partition.tenant,
        access_level=candidate.partition.access_level,
        title=title,
    )
