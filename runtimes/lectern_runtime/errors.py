"""Errors that several adapters of one port raise alike, placed in the contract's tree.

Adapters raise them, the worker and the query runtime catch them by their parents, and nothing here
knows a client library.
"""

from __future__ import annotations

from collections.abc import Sequence

from lectern_contract.errors import ConfigurationError, DependencyError, DocumentError, LecternError

_MOST_NAMED = 5


def first_of(group: BaseExceptionGroup[LecternError]) -> LecternError:
    """The first error of a group of tasks, however deep: it is raised in place of the group."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


class InputTooLong(DocumentError):
    """A text has more tokens than the model reads; embedding only its beginning would hide the rest.

    `index` is the text's place in the call, `tokens` its length and `limit` the model's, both with special tokens.
    """

    def __init__(self, *, index: int, tokens: int, limit: int) -> None:
        super().__init__(
            f"text {index} of the call has {tokens} tokens and the embedding model reads at most {limit}; "
            "lower the chunk size or shorten the question",
            stage="embed",
            reason="InputTooLong",
        )
        self.index = index
        self.tokens = tokens
        self.limit = limit


class TextNotUnicode(DocumentError):
    """A text holds half of a surrogate pair, which no encoder, store or wire format can carry."""

    def __init__(self, *, index: int, position: int) -> None:
        super().__init__(
            f"text {index} of the call holds an unpaired surrogate at character {position}; "
            "the parser must replace it before the text is chunked",
            stage="embed",
            reason="TextNotUnicode",
        )
        self.index = index
        self.position = position


class ModelNotInstalled(ConfigurationError):
    """The files of a local model are absent, or are not the ones that Lectern was tested with."""


class EmbedderFailed(DependencyError):
    """A model gave no usable vectors for a call that it should have answered."""


class StoreError(DependencyError):
    """The vector store could not do what it was asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="vector-store")


class CollectionUnknown(StoreError):
    """A call names a collection, or an alias, that the store does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the vector store has no collection or alias {name!r}; "
            "it is made when its knowledge base is reconciled, or was dropped since"
        )
        self.name = name


class CollectionMismatch(ConfigurationError):
    """A collection exists and was made for something else."""


class VectorInvalid(DependencyError):
    """A vector has the wrong shape or holds what no search can compare, such as NaN."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="embedder")


class BlobMissing(DocumentError):
    """The blob store does not have these bytes, so a message refers to a document that nobody can read."""

    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"the blob store has no bytes with sha256 {sha256}; run a full resync of the document's source",
            stage="fetch",
            reason="BlobMissing",
        )
        self.sha256 = sha256


class BlobDamaged(DocumentError):
    """The stored bytes are no longer those that were put."""

    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"the bytes stored under sha256 {sha256} have another digest; "
            "check the disk, then run a full resync of the document's source",
            stage="fetch",
            reason="BlobDamaged",
        )
        self.sha256 = sha256


class BlobStoreError(DependencyError):
    """The blob store could not do what it was asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="blob-store")


class LogError(DependencyError):
    """The log could not do what it was asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message, dependency="log")


class TopicUnknown(LogError):
    """A call names a topic that the log does not have."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"the log has no topic {topic!r}; it is made when its knowledge base is reconciled")
        self.topic = topic


class TopicMismatch(ConfigurationError):
    """A topic exists with another number of partitions or another clean-up policy."""


class GroupInUse(ConfigurationError):
    """A consumer group has members where only one without may be changed."""

    def __init__(self, group: str, members: Sequence[str]) -> None:
        who = f"{len(members)} members ({', '.join(members[:_MOST_NAMED])})" if members else "members"
        super().__init__(f"the consumer group {group!r} has {who}: they would go on where they are; stop them first")
        self.members = tuple(members)
