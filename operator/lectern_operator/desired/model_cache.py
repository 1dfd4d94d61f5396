"""Where a model server keeps what it downloads and compiles: a claim that the user names, one that is made, or neither.

Called by the builders of model servers. Without a claim each pod has a directory of its own that goes with it.
"""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources.common import ManagedServer, ModelCache
from lectern_operator.desired.metadata import Manifest, Owner, given, metadata, sealed
from lectern_operator.facts.quantities import amount

VOLUME = "models"
START_SECONDS, START_SECONDS_PER_GIB = 600, 120
"""Time that a start may take, for the process and for each GiB that has to come from the hub (9 MB a second)."""
LONGEST_START_SECONDS = 4 * 3600
_NOWHERE = "http://127.0.0.1:9"
"""A hub that refuses at once: a file that the cache lacks ends a start instead of being waited for."""


def model_cache(
    of: Owner, role: Role, cache: ModelCache | None, *, scratch: str = "10Gi"
) -> tuple[Manifest, list[Manifest]]:
    """Return the volume for weights and the claim that has to be made; `scratch` bounds a directory without one."""
    if cache is None:
        return {"name": VOLUME, "emptyDir": {"sizeLimit": scratch}}, []
    own = names.child(of.name, role)
    volume = {"name": VOLUME, "persistentVolumeClaim": {"claimName": cache.claim_name or own}}
    if cache.claim_name is not None:
        return volume, []
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(of, own, role),
        "spec": given(
            accessModes=["ReadWriteOnce"],
            resources={"requests": {"storage": cache.size}},
            storageClassName=cache.storage_class_name,
        ),
    }
    return volume, [sealed(claim)]


def start_seconds(server: ManagedServer) -> int:
    """Return how long a start-up probe has to wait for `server`: what it says, or what its cache has room for."""
    if server.startup_seconds is not None:
        return server.startup_seconds
    gibibytes = amount((server.model_cache or ModelCache()).size)
    assert not isinstance(gibibytes, str), "the model demands a quantity"
    return min(START_SECONDS + int(gibibytes * START_SECONDS_PER_GIB / 1024**3), LONGEST_START_SECONDS)


def offline(server: ManagedServer) -> bool:
    """Say whether `server` finds its weights in its cache and has nothing to ask of the hub."""
    return server.model_cache is not None and server.model_cache.offline


def hub_environment(server: ManagedServer) -> dict[str, str]:
    """Return the variables that tell the hub's client where its cache is, and not to ask the hub when `offline`."""
    found = {"HF_HOME": names.MODEL_CACHE_DIRECTORY, "HF_HUB_DISABLE_TELEMETRY": "1"}
    return found | ({"HF_ENDPOINT": _NOWHERE, "HF_HUB_OFFLINE": "1"} if offline(server) else {})
