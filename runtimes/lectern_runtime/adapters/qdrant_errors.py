"""What the failures of a Qdrant server mean to those who call the store. Never quotes a document: only the server."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from pydantic import ValidationError
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from lectern_runtime.errors import CollectionUnknown, StoreError

_FAILURES = (ApiException, QdrantException, httpx.HTTPError, ValidationError)
_MAX_WORDS = 200


class CredentialsRefused(StoreError):
    """The server does not let this process in, with the key that its file holds now."""


@contextmanager
def told(url: str, collection: str | None, *, seconds: float) -> Iterator[None]:
    """Raise what goes wrong in the block as StoreError; `collection` is what the call was about."""
    try:
        yield
    except TimeoutError as error:
        raise StoreError(f"the vector store {url} keeps silent for {seconds:.0f} s; see its load") from error
    except _FAILURES as error:
        raise _explained(url, collection, error) from error


def _explained(url: str, collection: str | None, error: Exception) -> StoreError:
    match error:
        case UnexpectedResponse():
            return _answered(url, collection, error)
        case ResourceExhaustedResponse():
            asked = StoreError(f"the vector store {url} asks to be left alone for {error.retry_after_s} s")
            asked.retry_after_seconds = float(error.retry_after_s)
            return asked
        case ResponseHandlingException(source=source) if source is not None:
            return _unanswered(url, source)
        case _:
            return _unanswered(url, error)


def _answered(url: str, collection: str | None, error: UnexpectedResponse) -> StoreError:
    status, said = error.status_code or 0, _words(error)
    if status in (401, 403):
        return CredentialsRefused(
            f"the vector store {url} refuses the API key (HTTP {status}); correct the Secret of spec.vectorStore"
        )
    if status == 404 and collection is not None and "shard key" not in said.lower():
        return CollectionUnknown(collection)
    where = f"collection {collection!r} of the vector store {url}" if collection else f"the vector store {url}"
    if status in (408, 429) or status >= 500:
        return StoreError(f"{where} cannot answer now (HTTP {status}: {said})")
    return StoreError(f"{where} refuses the call (HTTP {status}: {said}); see the status of its knowledge base")


def _words(error: UnexpectedResponse) -> str:
    """Qdrant's sentence without what it quotes of a request, or nothing of an answer that is somebody else's."""
    try:
        said = json.loads(error.content)["status"]["error"]
    except (ValueError, KeyError, TypeError):
        return "no reason given"
    return " ".join(str(said).split())[:_MAX_WORDS]


def _unanswered(url: str, error: BaseException) -> StoreError:
    match _tls_failure(error) or error:
        case ssl.SSLCertVerificationError(verify_message=said):
            cause = f"shows a certificate that is not trusted ({said}); check spec.vectorStore.caSecretRef"
        case ssl.SSLError(reason=said):
            cause = f"does not speak TLS ({said}); check spec.vectorStore.url"
        case httpx.TimeoutException():
            cause = "keeps silent; see its load"
        case httpx.HTTPError():
            cause = f"cannot be reached ({type(error).__name__}); see that it runs and that a NetworkPolicy lets us in"
        case _:
            cause = f"does not answer as Qdrant does ({type(error).__name__}); check spec.vectorStore.url"
    return StoreError(f"the vector store {url} {cause}")


def _tls_failure(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None
