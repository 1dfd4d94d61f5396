"""Secrets and ConfigMaps that resources name, read for their keys and, where the operator itself logs in, their values.

Many resources name the same few objects and look again every few seconds: an answer is kept for a short while, and
those who ask at the same moment share one request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lectern_contract.errors import DependencyError
from lectern_operator.clients.errors import NotFound, Refused
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import Content, Denied

KEPT_SECONDS = 5.0
MOST_KEPT = 10_000
Key = tuple[str, str, str]


class Reads(Protocol):
    """The one request that is needed: `clients.kube.Kube` has it."""

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Return one object as it is now."""
        ...


class Contents:
    """Contents by kind, namespace and name; None where there is no such object."""

    def __init__(self, reads: Reads, clock: Callable[[], float]) -> None:
        self._reads = reads
        self._clock = clock
        self._kept: dict[Key, tuple[float, asyncio.Task[Fact[Content | None]]]] = {}

    async def read(self, kind: str, namespace: str, name: str) -> Fact[Content | None]:
        """Return what the object holds, at most `KEPT_SECONDS` old."""
        key, now = (kind, namespace, name), self._clock()
        read_at, task = self._kept.get(key, (float("-inf"), None))
        if task is None or now - read_at > KEPT_SECONDS or task.cancelled():
            self._drop_old(now)
            task = asyncio.ensure_future(self._read(key))
            self._kept[key] = (now, task)
        return await asyncio.shield(task)

    def _drop_old(self, now: float) -> None:
        if len(self._kept) >= MOST_KEPT:
            self._kept = {key: kept for key, kept in self._kept.items() if now - kept[0] <= KEPT_SECONDS}

    async def _read(self, key: Key) -> Fact[Content | None]:
        kind, namespace, name = key
        try:
            return Known(_content(await self._reads.get(kind, namespace, name)))
        except NotFound:
            return Known(None)
        except Refused as error:
            return Denied(f"{kind} {name}: {error}") if error.status == 403 else Unknown(str(error))
        except (DependencyError, binascii.Error) as error:
            return Unknown(f"{kind} {name}: {error}")


def _content(body: Mapping[str, Any]) -> Content:
    encoded = {**(body.get("binaryData") or {}), **((body.get("data") or {}) if body["kind"] == "Secret" else {})}
    plain = (body.get("data") or {}) if body["kind"] == "ConfigMap" else {}
    values = {key: base64.b64decode(value) for key, value in encoded.items()}
    return Content({**values, **{key: value.encode() for key, value in plain.items()}})
