"""Storages for kopf that remember nothing: no state of ours is written onto objects, and none is computed for it.

Our handlers are told of events only. kopf 1.45.2 would still copy the whole body of each event to compare it with the
last one that it handled: two thirds of its work on an event.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import kopf


class NoDiff(kopf.DiffBaseStorage):
    """The last handled state: none, and no essence of the present one."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        """Return nothing of `body`."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Return that nothing was handled before."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""


class NoProgress(kopf.ProgressStorage):
    """The progress of handlers that take several attempts: there are none."""

    def fetch(self, *, key: Any, body: kopf.Body) -> Any:
        """Return that no attempt was made."""
        return None

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Keep nothing."""

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Remove nothing."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: Any) -> None:
        """Write nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return what there is."""
        return essence
