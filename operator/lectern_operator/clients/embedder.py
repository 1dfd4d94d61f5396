"""Asks an embedding server what it really returns: vector length, longest input, inputs a request.

TEI tells the last two at `/info`; an OpenAI-compatible server tells at most the longest input at `/v1/models`. The
length is never believed but measured: one short text is embedded.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import EmbedderFacts, Unauthorised

LOOK_SECONDS = 8.0
"""How long all requests of a look may take: a reason has to be told within ten seconds."""
MOST_CLIENTS = 32
PROBE = "dimensions"
"""What is embedded: one word of no one's documents."""


@dataclass(frozen=True, slots=True)
class EmbedderServer:
    """Where a server answers and how to be let in; `ca` is PEM text."""

    url: str
    protocol: Literal["TEI", "OpenAI"]
    model: str
    api_key: str | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)


@asynccontextmanager
async def open_embedders() -> AsyncIterator[Embedders]:
    """Yield the client and close its connections at the end of the block."""
    embedders = Embedders()
    try:
        yield embedders
    finally:
        await embedders.close()


class Embedders:
    """Looks at embedding servers, with one client for each certificate authority: to make one takes 30 ms."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str | None, httpx.AsyncClient] = OrderedDict()

    async def look(self, server: EmbedderServer) -> Fact[EmbedderFacts]:
        """Return what `server` does, or why it cannot be said, within `LOOK_SECONDS`."""
        if words := _no_address(server.url):
            return Unknown(f"{server.url} is no address ({words}): correct spec.embedding.server.external.url")
        try:
            client = await self._client(server.ca)
        except ssl.SSLError as error:
            return Unknown(f"the certificate authority is no PEM certificate ({error.reason})")
        asking = _Asking(client, server.url.rstrip("/"), server.api_key)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return Known(await (_tei(asking) if server.protocol == "TEI" else _openai(asking, server.model)))
        except TimeoutError:
            return Unknown(f"{server.url} keeps silent for {LOOK_SECONDS:.0f} s")
        except httpx.HTTPStatusError as error:
            said = f"{server.url} answers {error.request.url.path} with HTTP {error.response.status_code}"
            if error.response.status_code in (401, 403):
                return Unauthorised(f"{said}: the API key is refused")
            return Unknown(said)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Unknown(f"{server.url} does not answer ({type(error).__name__})")
        except (KeyError, IndexError, TypeError, ValueError):
            return Unknown(f"{server.url} does not speak the protocol {server.protocol}")

    async def close(self) -> None:
        """Close every connection."""
        while self._clients:
            await self._clients.popitem()[1].aclose()

    async def _client(self, ca: str | None) -> httpx.AsyncClient:
        if ca not in self._clients:
            verify = ssl.create_default_context(cadata=ca) if ca else True
            self._clients[ca] = httpx.AsyncClient(timeout=LOOK_SECONDS, verify=verify, trust_env=False)
            if len(self._clients) > MOST_CLIENTS:
                await self._clients.popitem(last=False)[1].aclose()
        self._clients.move_to_end(ca)
        return self._clients[ca]


def _no_address(url: str) -> str:
    """Say why nothing can be behind `url`; empty where something may be."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        return "" if parts.port != 0 else "port 0"
    except ValueError as error:  # a port that is no number or above 65535, a host that cannot be a name
        return str(error)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Requests to one server."""

    client: httpx.AsyncClient
    url: str
    api_key: str | None = field(repr=False)

    async def request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send one request; any status is an answer."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return await self.client.request(method, f"{self.url}{path}", json=body, headers=headers)

    async def json(self, method: str, path: str, body: Any = None) -> Any:
        """Return the body of an answer; raises for a status of 400 and above."""
        return (await self.request(method, path, body)).raise_for_status().json()


async def _tei(asking: _Asking) -> EmbedderFacts:
    info = await asking.json("GET", "/info")
    vectors = await asking.json("POST", "/embed", {"inputs": [PROBE]})
    return EmbedderFacts(_length(vectors[0]), int(info["max_input_length"]), int(info["max_client_batch_size"]))


async def _openai(asking: _Asking, model: str) -> EmbedderFacts:
    """`url` may or may not end in /v1: both are in use."""
    root = "" if asking.url.endswith("/v1") else "/v1"
    answer = await asking.json("POST", f"{root}/embeddings", {"model": model, "input": [PROBE]})
    return EmbedderFacts(
        _length(answer["data"][0]["embedding"]), await _longest(asking, f"{root}/models", model), max_batch=None
    )


async def _longest(asking: _Asking, path: str, model: str) -> int | None:
    """Return vLLM's `max_model_len`; None where the server has no such list or says nothing."""
    response = await asking.request("GET", path)
    if response.status_code != httpx.codes.OK:
        return None
    for each in response.json().get("data", ()):
        if each.get("id") == model and isinstance(each.get("max_model_len"), int):
            return int(each["max_model_len"])
    return None


def _length(vector: Any) -> int:
    if not isinstance(vector, list) or not vector or not all(isinstance(each, int | float) for each in vector):
        raise ValueError("no vector")
    return len(vector)
