"""Reads the bodies of requests: their size and type, and the fields that TEI's routes know; others are ignored."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from lectern_runtime.embedding_server.refusals import Kind, Refusal, Unreadable

BODY_SECONDS = 60.0
DISCARDED = 8
"""A body too large is read to its end up to this many times the limit, so that its sender gets to read the answer."""
LARGEST_ID = 2**32 - 1
DIRECTIONS = {"Left": True, "left": True, "Right": False, "right": False}
Input = str | list[int]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a request: texts or token ids. `single` where it had one outside a list."""

    items: list[Input]
    single: bool

    @property
    def method(self) -> str:
        """The label of its metrics."""
        return "single" if self.single else "batch"

    def characters(self) -> int:
        """Return how many characters, or ids, there are."""
        return sum(map(len, self.items))


@dataclass(frozen=True, slots=True)
class Embedding:
    """What /embed is asked for; `truncate` None leaves it to the server. `left` cuts a text's beginning."""

    inputs: Inputs
    truncate: bool | None
    left: bool
    prompt_name: str | None
    normalize: bool


class Held:
    """Bytes of all bodies that are being worked on; a request lets go of its own when it has been answered."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def take(self, request: Request, count: int) -> None:
        """Add bytes of a request; raises Refusal when that would be more than there may be at once."""
        if self._held + count > self._most:
            raise Refusal(Kind.OVERLOADED, "Model is overloaded", cause="overloaded")
        self._held += count
        request.state.held = getattr(request.state, "held", 0) + count

    def release(self, request: Request) -> None:
        """Let go of the bytes of a request."""
        self._held -= getattr(request.state, "held", 0)


async def read(request: Request, *, limit: int, held: Held) -> dict[str, Any]:
    """Return the JSON object that is the body.

    Raises Unreadable with 415, 413, 408, 400 or 422, and Refusal when too many bodies are being worked on.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Unreadable(415, "Expected request with `Content-Type: application/json`")
    content = await _content(request, limit, held)
    try:
        body = json.loads(content.decode())
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise Unreadable(400, f"Failed to parse the request body as JSON: {type(error).__name__}") from error
    if not isinstance(body, dict):
        raise wrong("expected an object")
    return body


async def _content(request: Request, limit: int, held: Held) -> bytes:
    content = bytearray()
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > limit * DISCARDED:
                    break
                if size <= limit:
                    held.take(request, len(part))
                    content += part
    except TimeoutError as error:
        raise Unreadable(408, f"The request body did not arrive within {BODY_SECONDS:.0f} s") from error
    except ClientDisconnect as error:
        raise Unreadable(400, "The request body ended early") from error
    if size > limit:
        raise Unreadable(413, "Failed to buffer the request body: length limit exceeded")
    return bytes(content)


def wrong(said: str) -> Unreadable:
    """Return the refusal of a body whose fields are not those of its route."""
    return Unreadable(422, f"Failed to deserialize the JSON body into the target type: {said}")


def field(body: dict[str, Any], name: str) -> Any:
    """Return a field that must be there; raises Unreadable."""
    if name not in body:
        raise wrong(f"missing field `{name}`")
    return body[name]


def flag(body: dict[str, Any], name: str, default: bool) -> bool:
    """Return a field that is true or false; raises Unreadable."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise wrong(f"{name}: expected a boolean")
    return value


def text(body: dict[str, Any], name: str) -> str | None:
    """Return a field that is text or null; raises Unreadable."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong(f"{name}: expected a string")
    return value


def texts(value: Any, name: str) -> list[str]:
    """Return a list of texts; raises Unreadable."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise wrong(f"{name}: expected a sequence of strings")
    return value


def inputs(value: Any, name: str) -> Inputs:
    """Return texts or lists of ids, one or many; an empty list counts as one input without ids, as in TEI."""
    if isinstance(value, str) or is_ids(value):
        return Inputs([value], single=True)
    if not isinstance(value, list) or not all(isinstance(each, str) or is_ids(each) for each in value):
        raise wrong(f"{name}: data did not match any variant of untagged enum Input")
    return Inputs(value, single=False)


def is_ids(value: Any) -> bool:
    """Whether a value is a list of token ids."""
    return isinstance(value, list) and all(type(each) is int and 0 <= each <= LARGEST_ID for each in value)


def embedding(body: dict[str, Any]) -> Embedding:
    """Return what a request to /embed and its kind asks for; raises Unreadable."""
    return Embedding(
        inputs=inputs(field(body, "inputs"), "inputs"), **_options(body), normalize=flag(body, "normalize", True)
    )


def similarity(body: dict[str, Any]) -> Embedding:
    """Return what a request to /similarity asks for: the vectors of the source sentence and of all others."""
    asked = field(body, "inputs")
    options = body.get("parameters") or {}
    if not isinstance(asked, dict) or not isinstance(options, dict):
        raise wrong("expected an object")
    source = field(asked, "source_sentence")
    sentences = texts(field(asked, "sentences"), "sentences")
    items: list[Input] = [*texts([source], "source_sentence"), *sentences]
    return Embedding(inputs=Inputs(items, single=False), **_options(options), normalize=True)


def _options(body: dict[str, Any]) -> dict[str, Any]:
    truncate = body.get("truncate")
    if truncate is not None and not isinstance(truncate, bool):
        raise wrong("truncate: expected a boolean")
    direction = body.get("truncation_direction", "Right")
    if not isinstance(direction, str) or direction not in DIRECTIONS:
        raise wrong("truncation_direction: expected `Left` or `Right`")
    return {"truncate": truncate, "left": DIRECTIONS[direction], "prompt_name": text(body, "prompt_name")}
