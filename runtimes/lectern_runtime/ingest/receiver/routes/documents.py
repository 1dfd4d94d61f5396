"""`/v1/documents`: put one or many, list, delete one or many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel

from lectern_runtime.api_keys import Holder
from lectern_runtime.http.faults import note
from lectern_runtime.http.problems import FieldFault, Refused
from lectern_runtime.ingest.receiver import idempotency, schema
from lectern_runtime.ingest.receiver.catalogue import Held
from lectern_runtime.ingest.receiver.problems import REFUSALS, Problem, Reason
from lectern_runtime.ingest.receiver.reception import Reception
from lectern_runtime.ingest.receiver.runs import Run
from lectern_runtime.ingest.receiver.schema import (
    Accepted,
    DeletedUris,
    DocumentBody,
    DocumentList,
    ListQuery,
    PartitionBody,
    PushedDocument,
    PushedDocuments,
    Result,
)

router = APIRouter(responses=REFUSALS)
_IDEMPOTENCY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "The same key with the same body gets the same answer for 24 h; with another body 409.",
}
Work = Callable[[bytes], Awaitable[Run]]


def _takes(*models: type[BaseModel]) -> dict[str, Any]:
    """The description of a body that is read outside the event loop."""
    references = [{"$ref": _REFERENCE.format(model=model.__name__)} for model in models]
    content = references[0] if len(references) == 1 else {"anyOf": references}
    return {
        "parameters": [_IDEMPOTENCY],
        "requestBody": {"required": True, "content": {"application/json": {"schema": content}}},
    }


def _definitions(*models: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for model in models:
        described = model.model_json_schema(ref_template=_REFERENCE)
        found |= described.pop("$defs", {}) | {model.__name__: described}
    return found


_REFERENCE = "#/components/schemas/{model}"
_PUT = _takes(PushedDocument, PushedDocuments)
_DELETE = _takes(DeletedUris)
DEFINITIONS = _definitions(PushedDocument, PushedDocuments, DeletedUris)
"""Schemas of the bodies, for the OpenAPI document."""


def action_of(method: str, path: str) -> str:
    """What a request asks for, in the words of the audit."""
    if path.startswith("/v1/runs"):
        return "runs.get"
    if method in ("GET", "HEAD"):
        return "documents.list"
    return "documents.delete" if method == "DELETE" or path.endswith("/delete") else "documents.put"


def reception_of(request: Request) -> Reception:
    """What the routes share."""
    found: Reception = request.app.state.reception
    return found


def holder_of(request: Request) -> Holder:
    """Whom the border let in."""
    found: Holder = request.state.holder
    return found


@router.post("/v1/documents", status_code=202, response_model=Accepted, openapi_extra=_PUT)
async def post_documents(request: Request) -> Response:
    """Take one document or several, new or changed."""
    return await _put(request)


@router.put("/v1/documents", status_code=202, response_model=Accepted, openapi_extra=_PUT)
async def put_documents(request: Request) -> Response:
    """Take one document or several, new or changed: the same as POST."""
    return await _put(request)


@router.get("/v1/documents")
async def list_documents(request: Request, asked: Annotated[ListQuery, Query()]) -> DocumentList:
    """List what the source holds, as far as the caller may see it, or one document by its uri."""
    reception, holder = reception_of(request), holder_of(request)
    catalogue, levels = reception.taking.catalogue, reception.rights.levels(holder)
    if asked.uri is not None:
        rows = (await asyncio.to_thread(catalogue.find, holder.tenant, [asked.uri])).get(asked.uri, ())
        seen = [each for each in rows if each.held and reception.rights.may(holder, each.partition)]
        if not seen:
            raise _unknown()
        return DocumentList(documents=[_body(each) for each in seen], next=None)
    found = await asyncio.to_thread(
        lambda: catalogue.listed(holder.tenant, levels, prefix=asked.prefix, after=asked.after, limit=asked.limit + 1)
    )
    page = [_body(each) for each in found[: asked.limit]]
    return DocumentList(documents=page, next=page[-1].uri if len(found) > asked.limit else None)


@router.delete("/v1/documents", status_code=202, response_model=Accepted)
async def delete_document(request: Request, uri: Annotated[str, Query(min_length=1, max_length=4096)]) -> Response:
    """Delete one document."""
    reception = reception_of(request)
    try:
        wanted = schema.checked_uri(uri)
    except ValueError as error:
        raise RequestValidationError([{"type": "value_error", "loc": ("query", "uri"), "msg": str(error)}]) from error

    async def work(_: bytes) -> Run:
        run = await reception.taking.delete(holder_of(request), [wanted])
        if run.documents[0].result == "unchanged":
            raise _unknown()
        return run

    return await _answered(request, work, f"DELETE {wanted}")


@router.post("/v1/documents/delete", status_code=202, response_model=Accepted, openapi_extra=_DELETE)
async def delete_documents(request: Request) -> Response:
    """Delete several documents; those that are not there are `unchanged`."""
    reception = reception_of(request)

    async def work(body: bytes) -> Run:
        uris = await asyncio.to_thread(schema.deleted, body)
        return await reception.taking.delete(holder_of(request), uris)

    return await _answered(request, work, "delete")


async def _put(request: Request) -> Response:
    reception = reception_of(request)

    async def work(body: bytes) -> Run:
        taking = reception.taking
        documents = await asyncio.to_thread(schema.pushed, body)
        run = await taking.put(holder_of(request), documents)
        _refuse_if_all_are(run, reception, holder_of(request))
        return run

    return await _answered(request, work, "put")


async def _answered(request: Request, work: Work, what: str) -> Response:
    """The answer to a request, or the one that was given to the same request before."""
    reception, body = reception_of(request), await request.body()
    keys = request.headers.getlist("idempotency-key")
    named = idempotency.request(holder_of(request).id, what, keys, body)
    if named is None:
        return _response(202, _told(request, reception, await work(body), what))
    with reception.answers.alone(named):
        given = reception.answers.given(named)
        if given is not None:
            note(request, outcome="repeated")
            return _response(*given)
        told = _told(request, reception, await work(body), what)
        reception.answers.keep(named, 202, told)
        return _response(202, told)


def _response(status: int, body: bytes) -> Response:
    return Response(body, status_code=status, media_type="application/json")


def _told(request: Request, reception: Reception, run: Run, what: str) -> bytes:
    counts = dict.fromkeys(("accepted", "unchanged", "rejected"), 0)
    for each in run.documents:
        counts[each.result] += 1
    for result, number in counts.items():
        action = "put" if what == "put" else "delete"
        reception.metrics.documents.labels(action=action, result=result).inc(number)
    note(request, run_id=run.id, **counts)
    results = [
        Result(uri=each.uri, result=each.result, reason=each.reason, detail=each.detail, document_id=each.id)
        if each.result == "rejected"
        else Result(uri=each.uri, result=each.result, document_id=each.id)
        for each in run.documents
    ]
    return Accepted(run_id=run.id, **counts, results=results).model_dump_json().encode()


def _refuse_if_all_are(run: Run, reception: Reception, holder: Holder) -> None:
    """Turn a request of which nothing is taken away, so that nobody takes 202 for a yes; tell what was denied."""
    rejected = [(number, each) for number, each in enumerate(run.documents) if each.result == "rejected"]
    denied = [each for _, each in rejected if each.reason == Reason.PARTITION_NOT_ALLOWED]
    for _ in denied:
        reception.audit.refused(holder.id, "documents.put", "PartitionNotAllowed", tenant=holder.tenant)
    if len(rejected) < len(run.documents):
        return
    reception.metrics.documents.labels(action="put", result="rejected").inc(len(rejected))
    faults = [
        FieldFault(field=f"documents.{number}", message=f"{each.reason}: {each.detail}") for number, each in rejected
    ]
    problem = Problem.SCOPE_DENIED if len(denied) == len(rejected) else Problem.DOCUMENTS_REJECTED
    raise Refused(problem, faults[0].message, faults=faults)


def _unknown() -> Refused:
    return Refused(Problem.DOCUMENT_UNKNOWN, "The source holds no such document, as far as the caller may see.")


def _body(held: Held) -> DocumentBody:
    where = held.partition
    return DocumentBody(
        uri=held.uri,
        sha256=held.sha256,
        size=held.size,
        media_type=held.media_type,
        title=held.title,
        partition=PartitionBody(tenant=where.tenant, access_level=where.access_level),
        metadata=dict(held.metadata),
    )
