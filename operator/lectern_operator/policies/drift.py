"""Whether an object on the API server still says what we want it to say.

Compared are the fields that we want, in canonical form, as server-side apply would merge them: what the server adds by
default, and what others add beside ours where they may, is no difference; nor is a quantity written another way. A
field that we want no more shows as a changed digest annotation, which is one of the fields that we want.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lectern_operator.facts.quantities import amount

_MERGED: dict[tuple[str, str], tuple[str, ...]] = {
    ("containers", "env"): ("name",),
    ("containers", "ports"): ("containerPort", "protocol"),
    ("containers", "volumeMounts"): ("mountPath",),
    ("metadata", "ownerReferences"): ("uid",),
    ("spec", "containers"): ("name",),
    ("spec", "imagePullSecrets"): ("name",),
    ("spec", "ports"): ("port", "protocol"),
    ("spec", "topologySpreadConstraints"): ("topologyKey", "whenUnsatisfiable"),
    ("spec", "volumes"): ("name",),
}
"""Lists, with the field that they are in, that server-side apply merges by these keys; any other is replaced whole."""
_WHOLE = frozenset(
    {
        "egress",
        "ingress",
        "labelSelector",
        "namespaceSelector",
        "nodeSelector",
        "podSelector",
        "preferredDuringSchedulingIgnoredDuringExecution",
        "selector",
    }
)
"""Fields that server-side apply replaces as a whole, and into which the server writes no defaults.

A key beside ours changes what they mean: whom a Service reaches, whom a NetworkPolicy lets in.
"""
_AMOUNTS = frozenset({"limits", "requests"})
_AMOUNT = frozenset({"sizeLimit"})


def drifted(wanted: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
    """Say whether a field of `wanted` is missing from `observed` or has another value there."""
    return not _holds(wanted, observed, "", "")


def _holds(wanted: Any, observed: Any, field: str, parent: str) -> bool:
    """Say whether `observed` has all of `wanted`; `parent` is the field that `field` is in, across a list's items."""
    if field in _WHOLE:
        return bool(wanted == observed)
    if isinstance(wanted, Mapping):
        return isinstance(observed, Mapping) and all(
            key in observed and _holds(value, observed[key], key, field) for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(observed, Sequence) and _list_holds(wanted, observed, field, parent)
    if parent in _AMOUNTS or field in _AMOUNT:
        return amount(wanted) == amount(observed)
    return bool(wanted == observed and isinstance(wanted, bool) == isinstance(observed, bool))


def _list_holds(wanted: Sequence[Any], observed: Sequence[Any], field: str, parent: str) -> bool:
    keys = _MERGED.get((parent, field))
    if keys is None:
        return len(wanted) == len(observed) and all(
            _holds(ours, theirs, field, parent) for ours, theirs in zip(wanted, observed, strict=True)
        )
    by_key = {_identity(item, keys): item for item in observed}
    return all(
        _identity(item, keys) in by_key and _holds(item, by_key[_identity(item, keys)], field, parent)
        for item in wanted
    )


def _identity(item: Any, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(key) for key in keys) if isinstance(item, Mapping) else (item,)
