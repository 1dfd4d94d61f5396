"""Errors that several adapters of one port raise alike, placed in the contract's tree.

Adapters raise them, the worker and the query runtime catch them by their parents, and nothing here
knows a client library.
"""

from __future__ import annotations

from lectern_contract.errors import ConfigurationError, DependencyError, DocumentError


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
