"""A DOUBLE for a storage provisioner: every claim gets a volume of its own at once, and the volume goes with the claim.

`fake_node` runs it, because the real scheduler binds no pod before its claims are bound; the binding itself is the
real controller's. A volume that exists already and fits is bound instead, as on a cluster.

What it does not show: storage classes and their parameters, access modes that a storage cannot give, quotas, node
affinity, resizing, snapshots, and any byte: the path of a volume does not exist.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import aiohttp

from e2e.testbed.api import Api
from e2e.testbed.errors import ApiRefused

VOLUMES = "/api/v1/persistentvolumes"
MADE_BY = "lectern-testbed/fake-volumes"
REMOVE_SECONDS = 2.0
UNPROCESSABLE = 422

Claim = Mapping[str, Any]


class FakeVolumes:
    """The volumes made for the claims that were seen, by the claims' UIDs."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._made: dict[str, str] = {}
        self._refused: dict[str, str] = {}

    async def run(self, path: str) -> None:
        """Follow the claims at the collection `path` for ever."""
        async for event in self._api.watch(path):
            if event.kind == "listed":
                left = {claim["metadata"]["uid"] for claim in event.objects}
                for uid in set(self._made) - left:
                    await self._remove(uid)
            for claim in event.objects:
                if event.kind == "DELETED":
                    await self._remove(claim["metadata"]["uid"])
                elif not claim["spec"].get("volumeName") and "deletionTimestamp" not in claim["metadata"]:
                    await self._provide(claim)

    async def close(self) -> None:
        """Give the volumes back: each goes as soon as its claim has gone."""
        with suppress(ApiRefused, aiohttp.ClientError, OSError, TimeoutError):  # the server may be gone already
            async with asyncio.timeout(REMOVE_SECONDS):
                for name in self._made.values():
                    await self._api.request("DELETE", f"{VOLUMES}/{name}")

    async def _provide(self, claim: Claim) -> None:
        uid = claim["metadata"]["uid"]
        if uid not in self._made and uid not in self._refused:
            try:
                await self._api.insist("POST", VOLUMES, volume(claim))  # refused as a conflict: made by another fake
            except ApiRefused as refused:
                if refused.status != UNPROCESSABLE:
                    raise
                # No storage gives what no volume can be: such a claim waits for ever, as on a cluster.
                self._refused[uid] = str(refused)
            else:
                self._made[uid] = f"pvc-{uid}"

    async def _remove(self, uid: str) -> None:
        self._refused.pop(uid, None)
        if name := self._made.pop(uid, None):
            await self._api.insist("DELETE", f"{VOLUMES}/{name}")


def volume(claim: Claim) -> dict[str, Any]:
    """Return the volume that `claim` asks for, reserved for it."""
    metadata, spec = claim["metadata"], claim["spec"]
    wanted: dict[str, Any] = {
        "capacity": {"storage": spec["resources"]["requests"]["storage"]},
        "accessModes": spec["accessModes"],
        "volumeMode": spec.get("volumeMode", "Filesystem"),
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": f"/nonexistent/{metadata['uid']}"},
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    if spec.get("storageClassName"):
        wanted["storageClassName"] = spec["storageClassName"]
    annotations = {"pv.kubernetes.io/provisioned-by": MADE_BY}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{metadata['uid']}", "annotations": annotations},
        "spec": wanted,
    }
