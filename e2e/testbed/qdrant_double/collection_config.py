"""Settings of a collection: the server's defaults, what a creation makes of them, what an update may change.

The result is the `config` object that the server shows. Sizes, distances, sharding method and number of shards are
fixed at creation: the request to update has no fields for them.
"""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel
from qdrant_client.http import models

from e2e.testbed.qdrant_double.refusals import Refused, invalid, wrong_input

LARGEST_VECTOR = 65_536
_FORBIDDEN_IN_NAMES = frozenset('<>:"/\\|?*\0\x1f')

# The defaults of config/config.yaml of qdrant 1.19.
_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, "max_indexing_threads": 0, "on_disk": False}
_OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10_000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
    "prevent_unoptimized": None,
}
_WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}
_STRICT_MODE = {"enabled": False}


def check_name(name: str) -> None:
    """Refuse (422) a name that a collection cannot have."""
    if not 1 <= len(name) <= 255:
        raise Refused(422, "Validation error in path parameters: [name: must be 1 to 255 characters long]")
    bad = sorted(_FORBIDDEN_IN_NAMES.intersection(name))
    if bad:
        raise Refused(422, f'Validation error in path parameters: [name: value "{name}" cannot contain {bad[0]!r}]')


def created(request: models.CreateCollection) -> dict[str, Any]:
    """The settings of a collection that is made with this request."""
    sent = plain(request)
    params: dict[str, Any] = {
        "vectors": sent.get("vectors", {}),
        "shard_number": 1,
        "replication_factor": 1,
        "write_consistency_factor": 1,
        "on_disk_payload": True,
    }
    for name in ("sparse_vectors", "sharding_method", *params, "payload", "id_tracker"):
        if name in sent:
            params[name] = sent[name]
    for name in ("shard_number", "replication_factor", "write_consistency_factor"):
        if params[name] < 1:
            raise wrong_input(f"`{name}` cannot be 0")
    for name, vector in named_vectors(params).items():
        if not 1 <= vector["size"] <= LARGEST_VECTOR:
            place = f"vectors.{name}.size".replace("..", ".")
            raise invalid(f"{place}: value {vector['size']} invalid, must be from 1 to {LARGEST_VECTOR}")
    config = {
        "params": params,
        "hnsw_config": _HNSW | sent.get("hnsw_config", {}),
        "optimizer_config": _OPTIMIZERS | sent.get("optimizers_config", {}),
        "wal_config": _WAL | sent.get("wal_config", {}),
        "quantization_config": sent.get("quantization_config"),
        "strict_mode_config": _STRICT_MODE | sent.get("strict_mode_config", {}),
    }
    if request.metadata is not None:
        config["metadata"] = request.metadata
    return config


def updated(config: dict[str, Any], request: models.UpdateCollection) -> dict[str, Any]:
    """The settings after this update; raises Refused (400) for a vector that the collection does not have."""
    sent = plain(request)
    new = copy.deepcopy(config)
    new["hnsw_config"] |= sent.get("hnsw_config", {})
    new["optimizer_config"] |= sent.get("optimizers_config", {})
    new["params"] |= sent.get("params", {})
    new["strict_mode_config"] |= sent.get("strict_mode_config", {})
    if "quantization_config" in sent:
        new["quantization_config"] = _quantization(sent["quantization_config"])
    for name, change in sent.get("vectors", {}).items():
        _update_vector(_existing(named_vectors(new["params"]), name), change)
    for name, change in sent.get("sparse_vectors", {}).items():
        sparse = _existing(new["params"].get("sparse_vectors", {}), name)
        sparse["index"] = sparse.get("index", {}) | change.get("index", {})
        sparse |= {key: value for key, value in change.items() if key != "index"}
    if request.metadata is not None:  # with its nulls, which remove keys
        kept = new.get("metadata", {}) | request.metadata
        new["metadata"] = {key: value for key, value in kept.items() if value is not None}
    return new


def named_vectors(params: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The dense vectors by name; the unnamed one is named by the empty string."""
    vectors: dict[str, Any] = params["vectors"]
    return {"": vectors} if "size" in vectors and "distance" in vectors else vectors


def plain(request: BaseModel) -> dict[str, Any]:
    """The JSON object of a request, without the fields that were left out or null."""
    value: dict[str, Any] = request.model_dump(mode="json", exclude_none=True)
    return value


def _update_vector(vector: dict[str, Any], change: dict[str, Any]) -> None:
    for name, value in change.items():
        if name == "hnsw_config":  # an empty object takes the collection's settings again
            vector[name] = vector.get(name, {}) | value if value else {}
        elif name == "quantization_config":
            vector[name] = _quantization(value)
        else:
            vector[name] = value
    for name in ("hnsw_config", "quantization_config"):
        if not vector.get(name):
            vector.pop(name, None)


def _quantization(value: Any) -> Any:
    return None if value == models.Disabled.DISABLED.value else value


def _existing(vectors: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in vectors:
        raise wrong_input(f"Not existing vector name error: {name}")
    return vectors[name]
