"""`POST /v1/chat/completions` and `GET /v1/models`: the endpoint as a model of OpenAI's API.

The last message is the question; earlier ones are accepted and not yet used. Citations, refusal and timings stand in
the extension field `lectern`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from lectern_contract.errors import LecternError
from lectern_runtime.http import problems
from lectern_runtime.http.faults import note
from lectern_runtime.http.problems import Refused
from lectern_runtime.query.cache import Outcome
from lectern_runtime.query.chat_schema import (
    AnswerMessage,
    ChatBody,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    LecternExtension,
    Model,
    Models,
    Usage,
)
from lectern_runtime.query.pipeline import MAX_ANSWER_TOKENS, Asked, Event
from lectern_runtime.query.principals import Right
from lectern_runtime.query.problems import Problem
from lectern_runtime.query.routes.query import last_outcome, note_outcome, note_question
from lectern_runtime.query.routes.responses import REFUSALS
from lectern_runtime.query.runtime import Visit, as_filters, visit
from lectern_runtime.query.schema import PieceBody
from lectern_runtime.query.stream import EventStream, begun, finished, server_sent_event
from lectern_runtime.query.timing import server_timing

router = APIRouter()

_DONE = b"data: [DONE]\n\n"
_EVENTS = {
    "description": "The answer. With `stream`, server-sent events that each hold a chunk, ended by `data: [DONE]`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.get("/v1/models", responses=REFUSALS)
async def models(request: Request) -> Models:
    """List what can be asked: this endpoint."""
    return Models(data=[Model(id=visit(request, Right.QUERY).runtime.settings.name)])


@router.post("/v1/chat/completions", response_model=Completion, responses={200: _EVENTS, **REFUSALS})
async def chat(body: ChatBody, request: Request) -> Response:
    """Answer the last message from the documents that the caller may read."""
    call = visit(request, Right.QUERY)
    settings = call.runtime.settings
    if body.model != settings.name:
        raise Refused(Problem.MODEL_UNKNOWN, f"This endpoint's only model is {settings.name!r}; see /v1/models.")
    asked = Asked(
        body.question,
        body.lectern.top_k or settings.retrieval.top_k,
        as_filters(body.lectern.filters),
        max_tokens=body.max_completion_tokens or body.max_tokens or MAX_ANSWER_TOKENS,
    )
    note_question(request, call, asked)
    if body.stream:
        events = await begun(call.runtime.pipeline.answer(asked, call.principal, call.watch), deadline=call.deadline)
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        headers = {"Server-Timing": server_timing(call.watch.timings())}
        return EventStream(
            _chunks(events, request, call, asked, with_usage=with_usage), deadline=call.deadline, headers=headers
        )
    outcome = await finished(request, last_outcome(asked, call), deadline=call.deadline)
    note_outcome(request, outcome)
    completion = Completion(
        id=f"chatcmpl-{call.request_id}",
        created=int(call.runtime.services.now()),
        model=settings.name,
        choices=[Choice(message=AnswerMessage(content=outcome.body.answer), finish_reason="stop")],
        usage=await _usage(asked, outcome, call),
        lectern=_extension(outcome),
    )
    return JSONResponse(completion.model_dump(), headers={"Server-Timing": server_timing(outcome.body.timings)})


async def _chunks(
    events: AsyncGenerator[Event, None], request: Request, call: Visit, asked: Asked, *, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    bare = Chunk(
        id=f"chatcmpl-{call.request_id}",
        created=int(call.runtime.services.now()),
        model=call.runtime.settings.name,
        choices=[],
    )

    def chunk(delta: Delta, **more: object) -> bytes:
        choice = ChunkChoice(delta=delta, finish_reason="stop" if "lectern" in more else None)
        return server_sent_event(bare.model_copy(update={"choices": [choice], **more}).shown())

    said = False
    try:
        yield chunk(Delta(role="assistant", content=""))
        async with aclosing(events):
            async for event in events:
                if isinstance(event, PieceBody):
                    said = True
                    yield chunk(Delta(content=event.text))
                    continue
                note_outcome(request, event)
                if not said:
                    yield chunk(Delta(content=event.body.answer))
                yield chunk(Delta(), lectern=_extension(event))
                if with_usage:
                    usage = await _usage(asked, event, call)
                    yield server_sent_event(bare.model_copy(update={"usage": usage}).shown())
        yield _DONE
    except LecternError as error:
        refused = problems.of_error(error)
        note(request, outcome=refused.kind.code)
        yield server_sent_event({"error": problems.body_of(refused, call.request_id).model_dump()})


def _extension(outcome: Outcome) -> LecternExtension:
    return LecternExtension(**dict(outcome.body))


async def _usage(asked: Asked, outcome: Outcome, call: Visit) -> Usage:
    """Tokens as the first knowledge base's embedding model counts them."""
    first = call.runtime.settings.knowledge_bases[0].name
    question, answer = await call.runtime.services.embedders[first].tokenize([asked.question, outcome.body.answer])
    prompt = len(question) + outcome.passage_tokens
    return Usage(prompt_tokens=prompt, completion_tokens=len(answer), total_tokens=prompt + len(answer))
