"""`POST /v1/retrieve`: a question in, the passages that answer it best out, with every score."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from lectern_runtime.http.faults import note
from lectern_runtime.query.citations import hit_body
from lectern_runtime.query.pipeline import Asked
from lectern_runtime.query.principals import Right
from lectern_runtime.query.routes.query import note_question
from lectern_runtime.query.routes.responses import REFUSALS
from lectern_runtime.query.runtime import as_filters, visit
from lectern_runtime.query.schema import RetrieveAnswer, RetrieveBody
from lectern_runtime.query.stream import finished
from lectern_runtime.query.timing import server_timing

router = APIRouter()


@router.post("/v1/retrieve", response_model=RetrieveAnswer, responses=REFUSALS)
async def retrieve(body: RetrieveBody, request: Request) -> Response:
    """Find passages, best first, without judging whether they answer."""
    call = visit(request, Right.RETRIEVE)
    asked = Asked(body.query, body.top_k or call.runtime.settings.retrieval.top_k, as_filters(body.filters))
    note_question(request, call, asked)
    work = call.runtime.pipeline.retrieve(asked, call.principal, call.watch)
    found = await finished(request, work, deadline=call.deadline)
    hits = [hit_body(each) for each in found.fused[: asked.top_k]]
    note(request, outcome="retrieved", hits=len(hits), degradations=found.degradations)
    answer = RetrieveAnswer(
        hits=hits,
        degraded=bool(found.degradations),
        degradations=list(found.degradations),
        timings=call.watch.timings(),
    )
    return JSONResponse(answer.model_dump(), headers={"Server-Timing": server_timing(answer.timings)})
