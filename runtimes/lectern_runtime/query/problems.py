"""Every way in which the query API says no; `lectern_runtime.http.problems` says what a problem looks like."""

from __future__ import annotations

from enum import Enum

from lectern_runtime.http import problems as common
from lectern_runtime.http.problems import RETRY_SECONDS, Kind


class Problem(Enum):
    """The catalogue; a code never changes its meaning."""

    BODY_INVALID = common.BODY_INVALID
    BODY_NOT_JSON = common.BODY_NOT_JSON
    BODY_TOO_LARGE = common.BODY_TOO_LARGE
    BODY_TOO_SLOW = common.BODY_TOO_SLOW
    CREDENTIALS_NOT_ACCEPTED = Kind("credentials_not_accepted", 401, "The credentials are not accepted")
    DEADLINE_EXCEEDED = Kind("deadline_exceeded", 504, "The answer took too long")
    DEPENDENCY_UNAVAILABLE = common.DEPENDENCY_UNAVAILABLE
    FILTER_NOT_DECLARED = Kind("filter_not_declared", 400, "A filter names a field that is not declared")
    INDEX_NOT_READY = Kind("index_not_ready", 503, "Nothing is indexed yet", 5)
    INTERNAL_ERROR = common.INTERNAL_ERROR
    METHOD_NOT_ALLOWED = common.METHOD_NOT_ALLOWED
    MODEL_UNKNOWN = Kind("model_unknown", 404, "There is no such model")
    NOT_FOUND = common.NOT_FOUND
    OVERLOADED = Kind("overloaded", 503, "Too many requests are being worked on", RETRY_SECONDS)
    SCOPE_DENIED = common.SCOPE_DENIED
    UNAUTHENTICATED = common.UNAUTHENTICATED
