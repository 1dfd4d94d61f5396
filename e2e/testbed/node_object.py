"""Keeps the Node object of a fake node: what the scheduler looks at, and what a cluster would write into it.

`fake_node` holds `registered` open as long as the node lives. Two things on it are those of controllers that are off
here: the taint `not-ready` of a new node is removed, and nobody marks the node when its heartbeats stay away.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from e2e.testbed.api import MERGE_PATCH, Api
from e2e.testbed.errors import ApiRefused

UNREGISTER_SECONDS = 2.0
CAPACITY: Mapping[str, str] = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "1000"}
"""Of a large machine: a test that needs a small one, or a GPU, says so."""


@dataclass(frozen=True)
class NodeObject:
    """What a scheduler may ask of a node; `capacity` comes on top of `CAPACITY` and all of it is allocatable."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    capacity: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()

    def manifest(self) -> dict[str, Any]:
        """Return the object without its status."""
        usual = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": {**usual, **self.labels}},
            "spec": {"taints": [dict(each) for each in self.taints]},
        }

    def status(self, now: str) -> dict[str, Any]:
        """Return the status of a node that is Ready at `now` (RFC 3339)."""
        times = {"lastTransitionTime": now, "lastHeartbeatTime": now}
        message = "a double of the testbed, no kubelet"
        capacity = {**CAPACITY, **self.capacity}
        return {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [
                {"type": kind, "status": status, "reason": "FakeNode", "message": message, **times}
                for kind, status in _CONDITIONS.items()
            ],
        }


_CONDITIONS = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}


@asynccontextmanager
async def registered(api: Api, node: NodeObject) -> AsyncIterator[None]:
    """Keep the Node object, Ready and open for pods, as long as the block lasts; one of the same name is taken over."""
    path, manifest = f"/api/v1/nodes/{node.name}", node.manifest()
    try:
        await api.request("POST", "/api/v1/nodes", manifest)
    except ApiRefused as refused:
        if refused.status != 409:
            raise
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    await api.request("PATCH", f"{path}/status", {"status": node.status(now)}, content_type=MERGE_PATCH)
    # The API server taints a new node as not ready; the controller that takes it back is off (see `commands`).
    await api.request("PATCH", path, manifest, content_type=MERGE_PATCH)
    try:
        yield
    finally:
        with suppress(ApiRefused, aiohttp.ClientError, OSError, TimeoutError):  # the server may be gone already
            async with asyncio.timeout(UNREGISTER_SECONDS):
                await api.request("DELETE", path)
