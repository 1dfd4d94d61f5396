"""Says why the bytes of one document are not handed over, in the shape that every connector raises it."""

from __future__ import annotations

from lectern_contract.errors import DocumentError


def unread(reason: str, detail: str) -> DocumentError:
    """The fault of one document; `detail` has the cause and the next step."""
    return DocumentError(detail, stage="fetch", reason=reason)


def too_large(limit: int) -> DocumentError:
    """The fault of a document of more than `limit` bytes."""
    return unread("TooLarge", f"it has more than {limit} bytes; raise spec.parsing.maxDocumentBytes or exclude it")
