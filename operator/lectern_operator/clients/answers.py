"""What the API server's answers mean: JSON into dicts, statuses of 400 and above into our errors."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from lectern_contract.errors import DependencyError
from lectern_operator.clients.errors import NotFound, Outdated, Refused

Manifest = dict[str, Any]


def parsed(content: bytes) -> Manifest:
    """Return the JSON object in `content`; anything else becomes a message."""
    try:
        answer = from_json(content)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"message": content[:500].decode(errors="replace")}


def failure(what: str, status: int, answer: Manifest, retry_after: str | None) -> Exception:
    """Choose the error for an answer of 400 and above to the request `what`."""
    message = f"{what}: {answer.get('message') or answer.get('reason') or 'no reason given'} (HTTP {status})"
    match status:
        case 404:
            return NotFound(message)
        case 409 | 410:
            return Outdated(message)
        case 403 if _is_terminating(answer):
            return Outdated(message)  # what we look after goes with the namespace
        case 429 | 500 | 502 | 503 | 504 | 401:
            return DependencyError(message, dependency="kubernetes", retry_after_seconds=seconds(answer, retry_after))
        case _:
            return Refused(message, status=status)


def seconds(answer: Manifest, header: str | None) -> float | None:
    """Return how long the server wants to be left alone, where it says so."""
    try:
        return float(header) if header else float(answer["details"]["retryAfterSeconds"])
    except (KeyError, TypeError, ValueError):
        return None


def _is_terminating(answer: Manifest) -> bool:
    causes = (answer.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
