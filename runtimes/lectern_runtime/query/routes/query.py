"""`POST /v1/query`: a question in, an answer with citations out, whole or as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from lectern_contract.errors import LecternError
from lectern_runtime.http import problems
from lectern_runtime.http.faults import note
from lectern_runtime.query.cache import Outcome
from lectern_runtime.query.pipeline import Asked, Event
from lectern_runtime.query.principals import Right
from lectern_runtime.query.routes.responses import REFUSALS
from lectern_runtime.query.runtime import Visit, as_filters, visit
from lectern_runtime.query.schema import AnswerBody, PieceBody, QueryBody
from lectern_runtime.query.stream import EventStream, begun, finished, server_sent_event
from lectern_runtime.query.timing import server_timing

router = APIRouter()

_EVENTS = {
    "description": "The answer. With `stream`, server-sent events: `piece` (text and new citations) as they come, then "
    "one `answer` (this schema), or `error` (a problem) where something failed midway.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.post("/v1/query", response_model=AnswerBody, responses={200: _EVENTS, **REFUSALS})
async def query(body: QueryBody, request: Request) -> Response:
    """Answer a question from the documents that the caller may read, or say that they do not answer it."""
    call = visit(request, Right.QUERY)
    settings = call.runtime.settings
    asked = Asked(body.question, body.top_k or settings.retrieval.top_k, as_filters(body.filters))
    note_question(request, call, asked)
    if body.stream:
        events = await begun(call.runtime.pipeline.answer(asked, call.principal, call.watch), deadline=call.deadline)
        headers = {"Server-Timing": server_timing(call.watch.timings())}
        return EventStream(_events(events, request, call), deadline=call.deadline, headers=headers)
    outcome = await finished(request, last_outcome(asked, call), deadline=call.deadline)
    note_outcome(request, outcome)
    return JSONResponse(outcome.body.model_dump(), headers={"Server-Timing": server_timing(outcome.body.timings)})


async def last_outcome(asked: Asked, call: Visit) -> Outcome:
    """The outcome of a question, its pieces left unheard."""
    outcome: Outcome | None = None
    async with aclosing(call.runtime.pipeline.answer(asked, call.principal, call.watch)) as events:
        async for event in events:
            if isinstance(event, Outcome):
                outcome = event
    if outcome is None:
        raise RuntimeError("the pipeline ended without an outcome")
    return outcome


def note_question(request: Request, call: Visit, asked: Asked) -> None:
    """Log the question's size, and its words only where the resource asks for that."""
    note(request, characters=len(asked.question), top_k=asked.top_k)
    if call.runtime.settings.log_query_text:
        note(request, question=asked.question)


def note_outcome(request: Request, outcome: Outcome) -> None:
    """Log how the question ended."""
    body = outcome.body
    note(
        request,
        outcome="refused" if body.refused else "answered",
        cache=body.cache,
        confidence=body.confidence,
        citations=len(body.citations),
        degradations=body.degradations,
    )


async def _events(events: AsyncGenerator[Event, None], request: Request, call: Visit) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, PieceBody):
                    yield server_sent_event(event.model_dump(), "piece")
                else:
                    note_outcome(request, event)
                    yield server_sent_event(event.body.model_dump(), "answer")
    except LecternError as error:
        refused = problems.of_error(error)
        note(request, outcome=refused.kind.code)
        yield server_sent_event(problems.body_of(refused, call.request_id).model_dump(), "error")
