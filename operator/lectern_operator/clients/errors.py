"""What the API server can answer instead of what was asked, by who has to act.

`kube` raises these; reconcilers turn `Refused` into a condition and `NotServed` into a fact, and the boundary tries
again after `Outdated` and after a `DependencyError` of the contract.
"""

from __future__ import annotations

from lectern_contract.errors import LecternError


class Refused(LecternError):
    """The API server will not take an object as it is written, or may not let us; `status` is HTTP's."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotFound(LecternError):
    """The object does not exist."""


class NotServed(LecternError):
    """The API server does not know the kind: what brings it is not installed."""


class Outdated(LecternError):
    """The object was changed or replaced since it was read; looking again settles it."""
