"""Saying no over HTTP: a stable code, a status, a title, and problem+json (RFC 9457), the same in every API.

Each API has an enum of its own whose values are kinds from here or of its own. Anything below a route raises `Refused`
or an error of the contract's tree that `of_error` translates. What reaches the caller is written here or names the
caller's own field: never an exception's text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from lectern_contract.errors import DependencyError, LecternError, ScopeDenied

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to say no; `retry_after` in seconds where a later attempt may succeed."""

    code: str
    status: int
    title: str
    retry_after: int | None = None


BODY_INVALID = Kind("body_invalid", 422, "The body does not fit the schema")
BODY_NOT_JSON = Kind("body_not_json", 400, "The body is not JSON")
BODY_TOO_LARGE = Kind("body_too_large", 413, "The body is too large")
BODY_TOO_SLOW = Kind("body_too_slow", 408, "The body did not arrive in time")
DEPENDENCY_UNAVAILABLE = Kind("dependency_unavailable", 503, "A service behind this one does not answer", 5)
INTERNAL_ERROR = Kind("internal_error", 500, "Something failed that should not")
METHOD_NOT_ALLOWED = Kind("method_not_allowed", 405, "The method is not allowed here")
NOT_FOUND = Kind("not_found", 404, "There is nothing at this path")
SCOPE_DENIED = Kind("scope_denied", 403, "The caller may not read this")
UNAUTHENTICATED = Kind("unauthenticated", 401, "Credentials are needed")
"""Kinds that every API has. A code never changes its meaning."""


class FieldFault(BaseModel):
    """What is wrong with one field of the body."""

    field: str
    message: str


class ProblemBody(BaseModel):
    """An error as problem+json. `code` is stable; `detail` is for people."""

    model_config = ConfigDict(title="Problem")

    type: str = "about:blank"
    code: str
    title: str
    status: int
    detail: str
    request_id: str = ""
    errors: list[FieldFault] = Field(default_factory=list)


class Listed(Protocol):
    """A member of the catalogue of one API."""

    @property
    def value(self) -> Kind:
        """The kind."""


class Refused(LecternError):
    """A request ends with this problem; `detail` is shown to the caller as it stands."""

    def __init__(
        self,
        problem: Listed | Kind,
        detail: str,
        *,
        faults: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = problem if isinstance(problem, Kind) else problem.value
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})


def of_error(error: LecternError) -> Refused:
    """What the caller is told about one of our own errors; the text of the error stays inside."""
    match error:
        case Refused():
            return error
        case ScopeDenied():
            return Refused(SCOPE_DENIED, "The caller may read none of what was asked for.")
        case DependencyError():
            wait = error.retry_after_seconds
            headers = {"Retry-After": str(max(1, round(wait)))} if wait is not None else {}
            return Refused(
                DEPENDENCY_UNAVAILABLE, f"The {error.dependency} does not answer; try again shortly.", headers=headers
            )
        case _:
            return internal()


def internal() -> Refused:
    """The answer to whatever was not foreseen."""
    return Refused(INTERNAL_ERROR, "The request failed; the log has more under its request id.")


def body_of(refused: Refused, request_id: str) -> ProblemBody:
    """The problem as data, for a response or for an event in a stream."""
    kind = refused.kind
    return ProblemBody(
        code=kind.code,
        title=kind.title,
        status=kind.status,
        detail=refused.detail,
        request_id=request_id,
        errors=list(refused.faults),
    )


def response(refused: Refused, request_id: str) -> JSONResponse:
    """The problem as a response."""
    kind = refused.kind
    headers = {"Retry-After": str(kind.retry_after)} if kind.retry_after is not None else {}
    if kind.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="lectern"'
    return JSONResponse(
        body_of(refused, request_id).model_dump(),
        status_code=kind.status,
        headers={**headers, **refused.headers},
        media_type=MEDIA_TYPE,
    )


def described(catalogue: Iterable[Enum]) -> dict[int | str, dict[str, Any]]:
    """The problems of one API by status, for the `responses` of its routes in the OpenAPI document."""
    by_status: dict[int, list[str]] = {}
    for problem in catalogue:
        by_status.setdefault(problem.value.status, []).append(f"`{problem.value.code}`")
    schema = {"$ref": f"#/components/schemas/{ProblemBody.model_config['title']}"}
    return {
        status: {
            "description": f"A problem with the code {' or '.join(codes)}.",
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, codes in sorted(by_status.items())
    }
