"""Every way in which the receiver says no to a request, and why it says no to one document of it."""

from __future__ import annotations

from enum import Enum, StrEnum

from lectern_runtime.http import problems as common
from lectern_runtime.http.problems import RETRY_SECONDS, Kind, described


class Problem(Enum):
    """The catalogue; a code never changes its meaning."""

    BODY_INVALID = common.BODY_INVALID
    BODY_NOT_JSON = common.BODY_NOT_JSON
    BODY_TOO_LARGE = common.BODY_TOO_LARGE
    BODY_TOO_SLOW = common.BODY_TOO_SLOW
    CREDENTIALS_NOT_ACCEPTED = Kind("credentials_not_accepted", 401, "The credentials are not accepted")
    DEPENDENCY_UNAVAILABLE = common.DEPENDENCY_UNAVAILABLE
    DOCUMENT_UNKNOWN = Kind("document_unknown", 404, "There is no such document")
    DOCUMENTS_REJECTED = Kind("documents_rejected", 422, "None of the documents is taken")
    IDEMPOTENCY_KEY_INVALID = Kind("idempotency_key_invalid", 400, "The Idempotency-Key cannot be used")
    IDEMPOTENCY_KEY_IN_USE = Kind("idempotency_key_in_use", 409, "A request with this Idempotency-Key goes on", 1)
    IDEMPOTENCY_KEY_REUSED = Kind("idempotency_key_reused", 409, "The Idempotency-Key was of another request")
    INTERNAL_ERROR = common.INTERNAL_ERROR
    METHOD_NOT_ALLOWED = common.METHOD_NOT_ALLOWED
    NOT_FOUND = common.NOT_FOUND
    NOT_READY = Kind("not_ready", 503, "The receiver is not ready yet", 5)
    OVERLOADED = Kind("overloaded", 429, "Too many requests are being worked on", RETRY_SECONDS)
    PUSH_NOT_ALLOWED = Kind("push_not_allowed", 403, "Nobody may push here")
    RUN_UNKNOWN = Kind("run_unknown", 404, "There is no such run")
    SCOPE_DENIED = Kind("scope_denied", 403, "The caller may not do this")
    UNAUTHENTICATED = common.UNAUTHENTICATED


class Reason(StrEnum):
    """Why one document is not taken; a reason never changes its meaning."""

    DUPLICATE_URI = "duplicate_uri"
    MEDIA_TYPE_INVALID = "media_type_invalid"
    MEDIA_TYPE_NOT_ACCEPTED = "media_type_not_accepted"
    MESSAGE_INVALID = "message_invalid"
    NOT_INCLUDED = "not_included"
    PARTITION_NOT_ALLOWED = "partition_not_allowed"
    TOO_LARGE = "too_large"


REFUSALS = described(Problem)
"""What every route under /v1 may answer, for the OpenAPI document."""
