"""Asks an embedding server what it really returns: vector length, longest input, inputs a request.

TEI tells the last two at `/info`; an OpenAI-compatible server tells at most the longest input at `/v1/models`. The
length is never believed but measured: one short text is embedded.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import EmbedderFacts, Unauthorised

REQUEST_SECONDS = 10.0
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
    """Yield the client; it keeps no connection between two looks."""
    yield Embedders()


class Embedders:
    """Looks at embedding servers."""

    async def look(self, server: EmbedderServer) -> Fact[EmbedderFacts]:
        """Return what `server` does, or why it cannot be said."""
        headers = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
        try:
            verify = ssl.create_default_context(cadata=server.ca) if server.ca else True
        except ssl.SSLError as error:
            return Unknown(f"the certificate authority is no PEM certificate ({error.reason})")
        try:
            async with httpx.AsyncClient(
                base_url=server.url.rstrip("/"),
                headers=headers,
                timeout=REQUEST_SECONDS,
                verify=verify,
                trust_env=False,
            ) as client:
                return Known(await (_tei(client) if server.protocol == "TEI" else _openai(client, server.model)))
        except httpx.HTTPStatusError as error:
            said = f"{server.url} answers {error.request.url.path} with HTTP {error.response.status_code}"
            if error.response.status_code in (401, 403):
                return Unauthorised(f"{said}: the API key is refused")
            return Unknown(said)
        except httpx.HTTPError as error:
            return Unknown(f"{server.url} does not answer ({type(error).__name__})")
        except (KeyError, IndexError, TypeError, ValueError):
            return Unknown(f"{server.url} does not speak the protocol {server.protocol}")


async def _tei(client: httpx.AsyncClient) -> EmbedderFacts:
    info = await _json(client, "GET", "/info")
    vectors = await _json(client, "POST", "/embed", {"inputs": [PROBE]})
    return EmbedderFacts(_length(vectors[0]), int(info["max_input_length"]), int(info["max_client_batch_size"]))


async def _openai(client: httpx.AsyncClient, model: str) -> EmbedderFacts:
    """`url` may or may not end in /v1: both are in use."""
    root = "" if str(client.base_url).rstrip("/").endswith("/v1") else "/v1"
    answer = await _json(client, "POST", f"{root}/embeddings", {"model": model, "input": [PROBE]})
    return EmbedderFacts(
        _length(answer["data"][0]["embedding"]), await _longest(client, f"{root}/models", model), max_batch=None
    )


async def _longest(client: httpx.AsyncClient, path: str, model: str) -> int | None:
    """Return vLLM's `max_model_len`; None where the server has no such list or says nothing."""
    response = await client.get(path)
    if response.status_code != httpx.codes.OK:
        return None
    for each in response.json().get("data", ()):
        if each.get("id") == model and isinstance(each.get("max_model_len"), int):
            return int(each["max_model_len"])
    return None


async def _json(client: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    response = await client.request(method, path, json=body)
    return response.raise_for_status().json()


def _length(vector: Any) -> int:
    if not isinstance(vector, list) or not vector or not all(isinstance(each, int | float) for each in vector):
        raise ValueError("no vector")
    return len(vector)
