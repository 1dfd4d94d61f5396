"""The reference model: folds the document messages of a log into what the store has to hold in the end. Pure, no I/O.

It knows the rules and nothing of the code that keeps them: the last message about a document in the log's order wins,
its version is (epoch, offset), a document that fails for its own sake has a record and no chunks, and a deletion leaves
a record. What the bytes of a document become is handed in as `Content`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lectern_contract import ids
from lectern_contract.ids import ChunkId, DocumentId
from lectern_contract.messages import Deleted, DocumentRef, Put
from lectern_contract.payload import DocumentState


@dataclass(frozen=True, slots=True)
class Said:
    """One document message of the log; `epoch` counts the lives of the topic, from 0."""

    epoch: int
    partition: int
    offset: int
    message: Put | Deleted

    @property
    def version(self) -> int:
        """The version that the log gives the document by this message."""
        return ids.version(self.epoch, self.offset)


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk that must be there: its text, what it was embedded as, and where it lies in the parsed text."""

    text: str
    embedded: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Content:
    """What the bytes of a document become: chunks, or the class of the fault for which it is given up."""

    title: str = ""
    pieces: tuple[Piece, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the store must hold about one document."""

    document: DocumentRef
    version: int
    state: DocumentState
    sha256: str = ""
    title: str = ""
    pieces: tuple[Piece, ...] = ()
    fault: str = ""

    @property
    def chunk_ids(self) -> tuple[ChunkId, ...]:
        """The ids of the chunks, in order."""
        return tuple(ids.chunk_id(self.document.id, number) for number in range(len(self.pieces)))


Truth = Callable[[Put], Content]
State = Mapping[DocumentId, Expected]


def folded(said: Iterable[Said], truth: Truth) -> dict[DocumentId, Expected]:
    """Return the end state of every document that the log is about; `said` may come in any order."""
    last: dict[DocumentId, Said] = {}
    for each in said:
        known = last.get(each.message.document.id)
        if known is None or known.version < each.version:
            last[each.message.document.id] = each
    return {document: expected(each, truth) for document, each in last.items()}


def expected(said: Said, truth: Truth) -> Expected:
    """Return what the store must hold when `said` is the last word about its document."""
    message = said.message
    if isinstance(message, Deleted):
        return Expected(message.document, said.version, DocumentState.DELETED)
    content = truth(message)
    state = DocumentState.FAILED if content.fault else DocumentState.INDEXED
    return Expected(message.document, said.version, state, message.sha256, content.title, content.pieces, content.fault)


@dataclass(frozen=True, slots=True)
class Letters:
    """Dead letters by (document, version): those that must be there, and all that may be.

    A message that failed and was overtaken before a worker came to it needs none.
    """

    required: frozenset[tuple[DocumentId, int]]
    allowed: frozenset[tuple[DocumentId, int]]


def letters(said: Iterable[Said], truth: Truth) -> Letters:
    """Return which dead letters a log leads to."""
    messages = list(said)
    allowed = {
        (each.message.document.id, each.version)
        for each in messages
        if isinstance(each.message, Put) and truth(each.message).fault
    }
    last = folded(messages, truth)
    required = {(name, each.version) for name, each in last.items() if each.state is DocumentState.FAILED}
    return Letters(frozenset(required), frozenset(allowed))
