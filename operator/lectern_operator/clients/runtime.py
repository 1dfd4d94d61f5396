"""Asks running pods of ours what settings they have really loaded: `GET /configz` on the pod's own address.

A process loads its settings once: what a container has said stays true for its life, so that each container is asked
until it has answered once and never again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from lectern_contract import names
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import Loaded

REQUEST_SECONDS = 3.0
AT_ONCE = 32
MOST_REMEMBERED = 50_000
MOST_BYTES = 1 << 20


class _Answer(BaseModel):
    """What we read of `/configz`."""

    config_hash: str
    settings_version: int


@asynccontextmanager
async def open_runtimes(*, port: int = names.RUNTIME_PORT) -> AsyncIterator[Runtimes]:
    """Open the client and close its connections at the end of the block."""
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=REQUEST_SECONDS, limits=limits, trust_env=False) as client:
        yield Runtimes(client, port)


class Runtimes:
    """Answers by container."""

    def __init__(self, client: httpx.AsyncClient, port: int) -> None:
        self._client = client
        self._port = port
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._known: OrderedDict[str, Loaded] = OrderedDict()

    async def loaded(self, pod: Mapping[str, Any]) -> Fact[Loaded]:
        """Return what the main container of `pod` has loaded."""
        container, address = _container(pod), pod.get("status", {}).get("podIP")
        if container is None or not address:
            return Unknown("its container has not started")
        if (known := self._known.get(container)) is not None:
            return Known(known)
        async with self._at_once:
            answer = await self._ask(str(address))
        if isinstance(answer, Known):
            self._known[container] = answer.value
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return answer

    async def _ask(self, address: str) -> Fact[Loaded]:
        host = f"[{address}]" if ":" in address else address
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                response = await self._client.get(f"http://{host}:{self._port}/configz")
            if len(response.content) > MOST_BYTES:
                return Unknown("/configz says more than 1 MiB")
            answer = _Answer.model_validate_json(response.raise_for_status().content)
        except (httpx.HTTPError, TimeoutError) as error:
            return Unknown(f"/configz does not answer ({type(error).__name__})")
        except ValidationError:
            return Unknown("/configz answers something else; the image is of another release")
        return Known(Loaded(answer.config_hash, answer.settings_version))


def _container(pod: Mapping[str, Any]) -> str | None:
    """Return what names one life of the main container; None while it does not run."""
    for status in pod.get("status", {}).get("containerStatuses", ()):
        if "running" in status.get("state", {}):
            return "/".join((pod["metadata"]["uid"], str(status.get("restartCount", 0)), status.get("containerID", "")))
    return None
