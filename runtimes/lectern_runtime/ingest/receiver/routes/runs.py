"""`/v1/runs/{id}`: what became of an accepted request."""

from __future__ import annotations

from fastapi import APIRouter, Request

from lectern_runtime.http.problems import Refused
from lectern_runtime.ingest.receiver.problems import REFUSALS, Problem
from lectern_runtime.ingest.receiver.routes.documents import holder_of, reception_of
from lectern_runtime.ingest.receiver.runs import Run
from lectern_runtime.ingest.receiver.schema import RunBody, RunDocumentBody
from lectern_runtime.moments import rfc3339

router = APIRouter(responses=REFUSALS)


@router.get("/v1/runs/{run_id}")
async def get_run(request: Request, run_id: str) -> RunBody:
    """Tell what became of an accepted request, by document."""
    reception, holder = reception_of(request), holder_of(request)
    run = reception.runs.get(run_id)
    may_see = run is not None and run.tenant == holder.tenant
    if run is None or not may_see or not all(reception.rights.may(holder, each) for each in run.partitions):
        raise Refused(
            Problem.RUN_UNKNOWN,
            "There is no such run. Runs are kept for 24 h and not over a restart; list the documents instead.",
        )
    return _body(run)


def _body(run: Run) -> RunBody:
    documents = run.documents
    accepted = [each for each in documents if each.result == "accepted"]
    return RunBody(
        id=run.id,
        state=run.state,
        created_at=rfc3339(run.created_at),
        accepted=len(accepted),
        unchanged=sum(each.result == "unchanged" for each in documents),
        rejected=sum(each.result == "rejected" for each in documents),
        waiting=sum(each.state == "queued" for each in accepted),
        failed=sum(each.state == "failed" for each in accepted),
        documents=[
            RunDocumentBody(
                uri=each.uri,
                result=each.result,
                state=each.state,
                reason=each.reason,
                detail=each.detail,
                document_id=each.id,
            )
            for each in documents
        ],
    )
