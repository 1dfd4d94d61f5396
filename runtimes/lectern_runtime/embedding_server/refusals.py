"""How the server says no: TEI's kinds of errors, their statuses and the two shapes of their bodies."""

from __future__ import annotations

from enum import Enum

from starlette.responses import JSONResponse, PlainTextResponse, Response


class Kind(Enum):
    """A kind of error by TEI's name, with its HTTP status (since TEI 1.9, which says 422 where 1.8 said 413)."""

    UNHEALTHY = ("Unhealthy", 503)
    BACKEND = ("Backend", 424)
    OVERLOADED = ("Overloaded", 429)
    VALIDATION = ("Validation", 422)
    EMPTY = ("Empty", 400)

    def __init__(self, told: str, status: int) -> None:
        self.told = told
        self.status = status


class Refusal(Exception):
    """A request that is understood and not done; `cause` is its label in te_request_failure, None counts nothing."""

    def __init__(self, kind: Kind, said: str, *, cause: str | None, retry_after_seconds: int | None = None) -> None:
        super().__init__(said)
        self.kind = kind
        self.said = said
        self.cause = cause
        self.retry_after_seconds = retry_after_seconds

    def response(self, *, openai: bool) -> Response:
        """Return the answer, in the shape of the OpenAI routes where `openai`."""
        body: dict[str, object]
        if openai:
            body = {"message": self.said, "code": self.kind.status, "type": self.kind.told}
        else:
            body = {"error": self.said, "error_type": self.kind.told}
        asked = self.retry_after_seconds
        headers = {} if asked is None else {"retry-after": str(asked)}
        return JSONResponse(body, self.kind.status, headers)


class Unreadable(Exception):
    """A body that is none of ours: refused before it is understood, in plain words."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said

    def response(self) -> Response:
        """Return the answer."""
        return PlainTextResponse(self.said, self.status)


def invalid(said: str, *, cause: str) -> Refusal:
    """Return the refusal of an input for what it is."""
    return Refusal(Kind.VALIDATION, f"Input validation error: {said}", cause=cause)


def empty(what: str) -> Refusal:
    """Return the refusal of an input without content."""
    return Refusal(Kind.EMPTY, f"Input validation error: `{what}` cannot be empty", cause="tokenization")


def empty_batch(what: str) -> Refusal:
    """Return the refusal of a list without inputs."""
    return Refusal(Kind.EMPTY, f"`{what}` cannot be empty", cause="validation")


def too_many(count: int, most: int) -> Refusal:
    """Return the refusal of a list with more inputs than a request may have."""
    return Refusal(Kind.VALIDATION, f"batch size {count} > maximum allowed batch size {most}", cause="batch_size")


def not_this_model(said: str) -> Refusal:
    """Return the refusal of something that another kind of model does."""
    return Refusal(Kind.BACKEND, f"Backend error: {said}", cause="model_type")
