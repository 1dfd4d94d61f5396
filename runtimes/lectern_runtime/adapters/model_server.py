"""Requests to a model server over HTTP: bounded in time and size, its refusals as errors of the contract.

`tei.py`, `openai_embeddings.py` and `rerankers.py` speak their protocols through it; it knows none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import numpy as np

from lectern_contract.errors import DependencyError, DocumentError
from lectern_runtime.adapters.renewed import Credentials, Renewed, shown
from lectern_runtime.errors import EmbedderFailed
from lectern_runtime.ports import Vectors
from lectern_runtime.retries import retry_after
from lectern_runtime.telemetry import genai, tracing

REQUEST_SECONDS = 60.0
CONNECT_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 << 20
MOST_CONNECTIONS = 8
MAX_WORDS = 200
MOST_CALL_CHARACTERS = 250_000
"""Of one request: at six bytes a character still below the 2 MB that servers take."""


class Address(Protocol):
    """Where a model server is, and the files that let us in, as several settings say it."""

    @property
    def url(self) -> str:
        """Base of all paths."""

    @property
    def api_key_file(self) -> str | None:
        """File of the key that is sent as a bearer token."""

    @property
    def ca_file(self) -> str | None:
        """File of the authorities that may have signed the server's certificate."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a model server is for, as its errors tell: whom they keep away, its name, and its field of the spec."""

    dependency: str
    noun: str
    field: str
    failure: type[DependencyError] = DependencyError


EMBEDDER = Kind("embedder", "embedding server", "spec.embedding", EmbedderFailed)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server understood and will not: for the sake of what was sent, or of how much. `said` is its sentence."""

    status: int
    said: str


class ModelServer:
    """The server of `settings`; connects when it is asked."""

    def __init__(self, settings: Address, *, kind: Kind = EMBEDDER, seconds: float = REQUEST_SECONDS) -> None:
        self._kind = kind
        self._url = settings.url.rstrip("/")
        self.shown = shown(self._url)
        self._seconds = seconds
        self._closed = False
        self._clients: Renewed[httpx.AsyncClient] = Renewed(
            self._client,
            _close,
            dependency=kind.dependency,
            key_file=settings.api_key_file,
            ca_file=settings.ca_file,
            encrypted=settings.url.startswith("https:"),
        )

    async def get(self, path: str) -> Any:
        """Return the JSON at `path`; raises the failure of this kind of server."""
        answer = await self._json("GET", path, None, refusable=())
        assert not isinstance(answer, Refusal)
        return answer

    async def post(self, path: str, body: Any, *, refusable: Sequence[int]) -> Any | Refusal:
        """Return the JSON that `body` is answered with, or its refusal with one of the statuses `refusable`.

        Raises the failure of this kind for all other statuses, with the pause that the server asks for.
        """
        return await self._json("POST", path, body, refusable=refusable)

    def asked_for(self, protocol: str) -> None:
        """Say on the span of a model call that this server, of that protocol, is asked."""
        if not tracing.on():
            return
        where = urlsplit(self._url)
        default = 443 if where.scheme == "https" else 80
        with contextlib.suppress(ValueError):  # a port that is none: the call that follows says so
            genai.served_by(protocol, address=where.hostname, port=where.port or default)

    async def close(self) -> None:
        """Close all connections; calls after that fail."""
        self._closed = True
        await self._clients.close()

    def failed(self, what: str, *, retry_after: float | None = None) -> DependencyError:
        """Return the error that the server `what`, which reads as 'cannot be reached; do this'."""
        return self._kind.failure(
            f"the {self._kind.noun} {self.shown} {what}",
            dependency=self._kind.dependency,
            retry_after_seconds=retry_after,
        )

    async def _json(self, method: str, path: str, body: Any, *, refusable: Sequence[int]) -> Any | Refusal:
        if self._closed:
            raise self.failed("was closed; open it again before further calls")
        try:
            async with (
                self._clients.client() as client,
                asyncio.timeout(self._seconds),
                client.stream(method, f"{self._url}{path}", json=body, headers=tracing.headers()) as response,
            ):
                content = await self._content(response)
        except TimeoutError as error:
            raise self.failed(f"keeps silent for {self._seconds:.0f} s; see its load") from error
        except httpx.HTTPError as error:
            raise self._unanswered(error) from error
        if response.status_code in refusable:
            return Refusal(response.status_code, said(content))
        if response.status_code != httpx.codes.OK:
            raise self._answered(response, path)
        try:
            return json.loads(content)
        except ValueError as error:
            raise self.failed(
                f"answers {path} with something else than JSON; check {self._kind.field}.server"
            ) from error

    async def _content(self, response: httpx.Response) -> bytes:
        content = bytearray()
        async for part in response.aiter_bytes():
            content += part
            if len(content) > MAX_ANSWER_BYTES:
                raise self.failed(f"answers with more than {MAX_ANSWER_BYTES} bytes; check {self._kind.field}.server")
        return bytes(content)

    def _answered(self, response: httpx.Response, path: str) -> DependencyError:
        status, field = response.status_code, self._kind.field
        if status in (401, 403):
            return self.failed(f"refuses the API key (HTTP {status}); correct the Secret of {field}.server")
        if status == 404:
            return self.failed(f"has no {path} (HTTP 404); check the URL and the protocol of {field}.server")
        asked = retry_after(response.headers.get("retry-after"), now=time.time())
        if status in (408, 424, 429) or status >= 500:
            return self.failed(f"cannot answer now (HTTP {status}); see its load and log", retry_after=asked)
        return self.failed(f"refuses {path} (HTTP {status}); check {field} and its log")

    def _unanswered(self, error: httpx.HTTPError) -> DependencyError:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return self.failed(f"shows a certificate that is not trusted ({cause.verify_message}); check caSecretRef")
        if isinstance(error, httpx.TimeoutException):
            return self.failed("keeps silent; see its load")
        return self.failed(
            f"cannot be reached ({type(error).__name__}); see that it runs and that a NetworkPolicy lets us in"
        )

    def _client(self, credentials: Credentials) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=httpx.Timeout(self._seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
            headers={"Authorization": f"Bearer {credentials.key}"} if credentials.key else None,
            verify=credentials.tls,
            trust_env=False,
        )


async def split(
    texts: Sequence[str],
    embed: Callable[[Sequence[str]], Awaitable[list[Any] | Refusal]],
    alone: Callable[[int, Refusal], Exception],
    *,
    first: int = 0,
) -> list[Any]:
    """Return what `embed` gives for each text; a list that is refused is cut in two, until one text is alone.

    Then what `alone` says of its index, which counts from `first`, and of the refusal is raised.
    """
    answer = await embed(texts)
    if not isinstance(answer, Refusal):
        return answer
    if len(texts) == 1:
        raise alone(first, answer)
    middle = len(texts) // 2
    return [
        *await split(texts[:middle], embed, alone, first=first),
        *await split(texts[middle:], embed, alone, first=first + middle),
    ]


def calls(
    texts: Sequence[str], *, most: int, tokens: Sequence[int] | None = None, most_tokens: int = 0
) -> Iterator[Sequence[str]]:
    """Cut texts into calls of at most `most` texts and about `MOST_CALL_CHARACTERS`, in order; none is empty.

    With the tokens of each text, a call of several texts has at most `most_tokens`.
    """
    start, size, counted = 0, 0, 0
    for index, text in enumerate(texts):
        given = 0 if tokens is None else tokens[index]
        full = index - start >= most or size + len(text) > MOST_CALL_CHARACTERS
        if index > start and (full or counted + given > most_tokens > 0):
            yield texts[start:index]
            start, size, counted = index, 0, 0
        size += len(text)
        counted += given
    if start < len(texts):
        yield texts[start:]


def not_embedded(server: ModelServer, index: int, refusal: Refusal) -> DocumentError:
    """Return the fault of a text that the server refuses by itself; what it says of it may quote it."""
    return DocumentError(
        f"the embedding server {server.shown} refuses text {index} of the call by itself (HTTP {refusal.status}); "
        "lower the chunk size, or exclude the document",
        stage="embed",
        reason="TextRefused",
    )


def normalised(server: ModelServer, rows: Sequence[Any], *, dimensions: int) -> Vectors:
    """Return the rows as vectors of length 1, shape (n, dimensions); raises EmbedderFailed for anything else."""
    try:
        vectors = np.array(rows, np.float32)
    except (TypeError, ValueError) as error:
        raise server.failed("answers with something else than vectors; check spec.embedding.server") from error
    if vectors.shape != (len(rows), dimensions):
        raise server.failed(
            f"answers {len(rows)} texts with vectors of shape {vectors.shape}, where spec.embedding.dimensions says "
            f"{dimensions}; is it another model than the index was made with?"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise server.failed("answers with a vector that is zero or not finite; see its log")
    return np.asarray(vectors / lengths, np.float32)


def said(content: bytes) -> str:
    """Return the server's own sentence; both protocols have one, in different places."""
    try:
        body = json.loads(content)
    except ValueError:
        return "no reason given"
    error = body.get("error", body.get("message")) if isinstance(body, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return " ".join(error.split())[:MAX_WORDS] if isinstance(error, str) else "no reason given"


async def _close(client: httpx.AsyncClient) -> None:
    await client.aclose()
