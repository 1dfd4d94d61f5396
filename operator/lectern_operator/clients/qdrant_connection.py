"""A client of one Qdrant server, and what its failures mean. Imported by `qdrant` on first use."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING

import httpx
from pydantic import ValidationError
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from lectern_operator.facts import Unknown
from lectern_operator.facts.outside import Denied, Unauthorised
from lectern_operator.facts.vector_store import Rejected, Unreachable

if TYPE_CHECKING:
    from lectern_operator.clients.qdrant import StoreServer

FAILURES = (ApiException, QdrantException, httpx.HTTPError, ValidationError, AssertionError, ValueError)
"""What qdrant-client raises; an answer without a result is an AssertionError or a ValueError there."""
MOST_CONNECTIONS = 8
MAX_WORDS = 300
_STANDALONE = "Distributed mode disabled"


def client(server: StoreServer, tls: ssl.SSLContext, *, seconds: float) -> AsyncQdrantClient:
    """Return a client that connects when it is asked; each of its requests takes at most `seconds`."""
    return AsyncQdrantClient(
        url=server.url,
        timeout=int(seconds),
        # not as `api_key`: the client warns where that goes over HTTP, which is the user's decision
        headers={"api-key": server.api_key} if server.api_key else None,
        check_compatibility=False,
        limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
        verify=tls,
        trust_env=False,
    )


def explained(url: str, error: Exception) -> Unknown:
    """Say what `error` means for a request to the server at `url`."""
    match error:
        case UnexpectedResponse(status_code=404 | 405) if _sentence(error) is None:
            return Unreachable(f"{url} is no Qdrant (HTTP {error.status_code}): check spec.vectorStore.url")
        case UnexpectedResponse():
            return answered(url, error.status_code or 0, words(error))
        case ResourceExhaustedResponse():
            return Unreachable(f"{url} asks to be left alone for {error.retry_after_s} s")
        case ResponseHandlingException(source=source) if source is not None:
            return _unanswered(url, source)
        case _:
            return _unanswered(url, error)


def answered(url: str, status: int, said: str) -> Unknown:
    """Say what an answer with an error status means."""
    if status == 401:
        return Unauthorised(f"{url} refuses the API key ({said})")
    if status == 403:
        return Denied(f"{url} lets us in but gives no right to our collections ({said})")
    if status in (408, 429) or status >= 500:
        return Unreachable(f"{url} cannot answer now (HTTP {status}: {said})")
    if _STANDALONE in said:
        return Rejected(f"{url} has no shard keys ({said}): start Qdrant with cluster.enabled, one node is enough")
    return Rejected(f"{url} refuses: {said} (HTTP {status})")


def words(error: UnexpectedResponse) -> str:
    """Return Qdrant's sentence, or how the answer of somebody else begins."""
    text = _sentence(error) or error.content.decode(errors="replace")
    return " ".join(text.split())[:MAX_WORDS] or "no reason given"


def _sentence(error: UnexpectedResponse) -> str | None:
    """Return the sentence in Qdrant's envelope; None where there is none, as in what a proxy or the key check says."""
    try:
        status = json.loads(error.content)["status"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(status["error"]) if isinstance(status, dict) and "error" in status else None


def _unanswered(url: str, error: BaseException) -> Unknown:
    match _tls_failure(error) or error:
        case ssl.SSLCertVerificationError(verify_message=said):
            told = f"{url} shows a certificate that is not trusted ({said})"
            return Unreachable(f"{told}: check spec.vectorStore.caSecretRef")
        case ssl.SSLError(reason=said):
            return Unreachable(f"{url} does not speak TLS ({said}): check spec.vectorStore.url")
        case httpx.TimeoutException():
            return Unreachable(f"{url} keeps silent")
        case httpx.HTTPError():
            return Unreachable(f"{url} cannot be reached ({type(error).__name__})")
        case _:
            return Unreachable(f"{url} does not answer as Qdrant 1.19 or newer does ({type(error).__name__})")


def _tls_failure(error: BaseException | None) -> ssl.SSLError | None:
    """Return what went wrong with TLS, from the errors that led to `error`."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None
