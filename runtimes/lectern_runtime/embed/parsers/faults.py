"""The faults that a document can have, as the parsers raise them.

The reasons are words that users filter dead letters by: Encrypted, Corrupt, NotWhatItSays, TooLarge, TooDeep,
NoText and the like.
"""

from __future__ import annotations

from lectern_contract.errors import DocumentError


def fault(reason: str, message: str) -> DocumentError:
    """A fault of the document itself, found while parsing."""
    return DocumentError(message, stage="parse", reason=reason)


def encrypted(what: str) -> DocumentError:
    """The document needs a password, which nobody can give here."""
    return fault("Encrypted", f"{what} is encrypted; remove its password, or exclude it")


def corrupt(what: str, why: str) -> DocumentError:
    """The document is damaged; `why` never quotes it."""
    return fault("Corrupt", f"{what} is damaged: {why}; save it again, or exclude it")
