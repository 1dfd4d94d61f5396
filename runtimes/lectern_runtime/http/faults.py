"""What the framework itself refuses, in the form of every other problem, and the description of an API.

Each API's `create_app` calls `handle` once; `describe` adds the schema of a problem to the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from lectern_runtime.http import problems
from lectern_runtime.http.problems import FieldFault, ProblemBody, Refused

_MOST_FAULTS = 10
_PLACES = ("body", "query")


def handle(app: FastAPI) -> None:
    """Let `app` answer malformed requests and unknown paths with problems."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _no_route)


def described(app: FastAPI, definitions: Mapping[str, Any] | None = None) -> None:
    """Give `app` an OpenAPI document that knows what a problem looks like, and these schemas."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, definitions or {})
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def request_id_of(request: Request) -> str:
    """The id that the border gave or accepted."""
    return str(request.state.request_id)


def note(request: Request, **fields: Any) -> None:
    """Add fields to the request's log line; `outcome` also labels the metric."""
    request.scope["lectern"].update(fields)


def _document(app: FastAPI, definitions: Mapping[str, Any]) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = document["components"]["schemas"]
    schemas.update(definitions)
    problem = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas[problem["title"]] = problem
    return document


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """A body that is not JSON or does not fit: which fields, and never what stood in them."""
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return _refuse(request, Refused(problems.BODY_NOT_JSON, "The body could not be read as JSON."))
    fields = [
        FieldFault(field=_field(fault["loc"]), message=str(fault["msg"]).removeprefix("Value error, ")[:200])
        for fault in faults[:_MOST_FAULTS]
    ]
    first = f"{fields[0].field or 'body'}: {fields[0].message}"
    return _refuse(request, Refused(problems.BODY_INVALID, first, faults=fields))


def _field(place: Sequence[object]) -> str:
    inside = place[1:] if place and place[0] in _PLACES else place
    return ".".join(str(part) for part in inside)[:200]


async def _no_route(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses: paths, methods, bodies that cannot be decoded."""
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            refused = Refused(problems.NOT_FOUND, "There is nothing at this path; see /openapi.json.")
        case 405:
            refused = Refused(
                problems.METHOD_NOT_ALLOWED, "This path has other methods; see /openapi.json.", headers=error.headers
            )
        case 400:
            refused = Refused(problems.BODY_NOT_JSON, "The body could not be read as JSON.")
        case _:
            refused = problems.internal()
    return _refuse(request, refused)


def _refuse(request: Request, refused: Refused) -> JSONResponse:
    request.scope["lectern"]["code"] = refused.kind.code
    return problems.response(refused, request_id_of(request))
