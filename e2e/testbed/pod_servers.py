"""A DOUBLE for what containers answer over HTTP: each running pod of a fake node listens on an address of its own.

Addresses are of 127.0.0.0/8, which is all this machine, so that the operator reaches a pod by its `status.podIP` as on
a cluster. Pods of our runtimes answer `/livez`, `/readyz` and `/configz`, with the hash of the settings file that they
mounted when they started; embedders answer `/health`, `/info` and `/embed` as TEI does, for the models of `MODELS`.

What it does not show: the programs themselves, their start-up time and failures, and any other route.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from e2e.testbed.api import Api

PORT = 8080
ROLE = "lectern.dev/role"
SETTINGS_VOLUME = "settings"
MOST_BYTES = 1 << 20
REQUEST_SECONDS = 10.0
Pod = Mapping[str, Any]

_numbers = itertools.count(random.randrange(5_000_000))
"""Another process that runs a fake node at the same time hardly ever begins at the same address."""


@dataclass(frozen=True)
class Model:
    """What an embedding model returns and takes: vector length, tokens of its longest input."""

    dimensions: int
    max_input_length: int


MODELS: dict[str, Model] = {
    "intfloat/e5-base-v2": Model(768, 512),
    "intfloat/multilingual-e5-small": Model(384, 512),
    "sentence-transformers/all-MiniLM-L6-v2": Model(384, 512),
}
"""By name; a pod that serves another one answers 503, as a server that cannot load its model does not answer well."""


@dataclass(frozen=True)
class Reply:
    """Status and JSON body of one answer."""

    status: int
    body: Any


class PodServers:
    """The listeners of the running pods, by the pods' UIDs."""

    def __init__(self, api: Api, models: Mapping[str, Model]) -> None:
        self._api = api
        self._models = models
        self._servers: dict[str, asyncio.Server] = {}
        self._settings: dict[str, str | None] = {}
        self._open: set[asyncio.StreamWriter] = set()

    def address(self) -> str:
        """Return an address that no pod of this process has had."""
        number = next(_numbers) % (250 * 250 * 100)
        return f"127.{100 + number // 62500}.{number // 250 % 250}.{number % 250 + 2}"

    async def start(self, pod: Pod, address: str) -> None:
        """Let `pod` answer at `address`, with the settings that its ConfigMap holds now: a container has started."""
        uid = pod["metadata"]["uid"]
        self._settings[uid] = await self._mounted(pod)
        if uid not in self._servers and address.startswith("127."):

            async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._answer(pod, reader, writer)

            self._servers[uid] = await asyncio.start_server(connected, address, PORT, backlog=16)

    def stop(self, uid: str) -> None:
        """Let the pod answer no more."""
        self._settings.pop(uid, None)
        if server := self._servers.pop(uid, None):
            server.close()

    async def close(self) -> None:
        """Stop all of them, and cut the answers that are under way."""
        for uid in list(self._servers):
            self.stop(uid)
        for writer in list(self._open):
            writer.transport.abort()
        while self._open:
            await asyncio.sleep(0)

    async def _mounted(self, pod: Pod) -> str | None:
        """Return the text of settings.json; None for a pod that mounts none."""
        for volume in pod["spec"].get("volumes", ()):
            if volume["name"] == SETTINGS_VOLUME and "configMap" in volume:
                namespace, name = pod["metadata"]["namespace"], volume["configMap"]["name"]
                found = await self._api.insist("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
                return None if found is None else str(found["data"]["settings.json"])
        return None

    async def _answer(self, pod: Pod, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._speak(pod, reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._open.discard(writer)

    async def _speak(self, pod: Pod, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(REQUEST_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(min(int(headers.get("content-length", "0")), MOST_BYTES))
                reply = self._reply(pod, method, path, body)
                content = json.dumps(reply.body).encode()
                writer.write(
                    f"HTTP/1.1 {reply.status} Double\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(content)}\r\nconnection: close\r\n\r\n".encode()
                )
                writer.write(content)
                await writer.drain()

    def _reply(self, pod: Pod, method: str, path: str, body: bytes) -> Reply:
        role = pod["metadata"].get("labels", {}).get(ROLE, "")
        if role == "embedder":
            return _embedder(self._models.get(_argument(pod, "--model-id")), method, path, body)
        if (method, path) == ("GET", "/configz"):
            settings = self._settings.get(pod["metadata"]["uid"])
            if settings is None:
                return Reply(404, {"error": "this pod mounts no settings"})
            told = {"runtime": role, "config_hash": hashlib.sha256(settings.encode()).hexdigest()}
            return Reply(200, told | {"settings_version": str(json.loads(settings)["schema_version"])})
        return Reply(200, {}) if path in ("/livez", "/readyz", "/health") else Reply(404, {"error": "no such route"})


def _embedder(model: Model | None, method: str, path: str, body: bytes) -> Reply:
    match (method, path):
        case _ if model is None:
            return Reply(503, {"error": "the model is not known to this double", "error_type": "Backend"})
        case ("GET", "/health"):
            return Reply(200, {})
        case ("GET", "/info"):
            return Reply(200, {"max_input_length": model.max_input_length, "max_client_batch_size": 32})
        case ("POST", "/embed"):
            return Reply(200, [[1.0] + [0.0] * (model.dimensions - 1) for _ in json.loads(body)["inputs"]])
        case _:
            return Reply(404, {"error": "no such route"})


def _argument(pod: Pod, name: str) -> str:
    """Return what follows `name` in the first container's arguments; empty when nothing does."""
    words = pod["spec"]["containers"][0].get("args", ())
    for index, word in enumerate(words):
        if word == name and index + 1 < len(words):
            return str(words[index + 1])
        if word.startswith(f"{name}="):
            return str(word).partition("=")[2]
    return ""
