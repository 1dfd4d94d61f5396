"""Whether an object on the API server still says what we want it to say.

Compared are the fields that we want, in canonical form: what the server adds by default, and what others add beside
ours, is no difference; a quantity written another way is none either. A field that we want no more shows as a changed
digest annotation, which is one of the fields that we want.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lectern_operator.facts.quantities import amount

_MERGED: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "env": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
"""Lists that server-side apply merges by these keys; any other list is replaced as a whole."""
_ATOMIC = frozenset({"nodeSelector", "selector"})
"""Maps that server-side apply replaces as a whole: a key beside ours changes what they mean."""
_AMOUNTS = frozenset({"limits", "requests"})
_AMOUNT = frozenset({"sizeLimit"})


def drifted(wanted: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
    """Say whether a field of `wanted` is missing from `observed` or has another value there."""
    return not _holds(wanted, observed, "", "")


def _holds(wanted: Any, observed: Any, field: str, parent: str) -> bool:
    if isinstance(wanted, Mapping):
        if not isinstance(observed, Mapping) or (field in _ATOMIC and wanted.keys() != observed.keys()):
            return False
        return all(key in observed and _holds(value, observed[key], key, field) for key, value in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(observed, Sequence) and _list_holds(wanted, observed, field)
    if parent in _AMOUNTS or field in _AMOUNT:
        return amount(wanted) == amount(observed)
    return bool(wanted == observed and isinstance(wanted, bool) == isinstance(observed, bool))


def _list_holds(wanted: Sequence[Any], observed: Sequence[Any], field: str) -> bool:
    keys = _MERGED.get(field)
    if keys is None:
        return len(wanted) == len(observed) and all(
            _holds(ours, theirs, "", field) for ours, theirs in zip(wanted, observed, strict=True)
        )
    by_key = {_identity(item, keys): item for item in observed}
    return all(
        _identity(item, keys) in by_key and _holds(item, by_key[_identity(item, keys)], "", field) for item in wanted
    )


def _identity(item: Any, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(key) for key in keys) if isinstance(item, Mapping) else (item,)
