"""What a request to the API server is about, read from its path alone."""

from __future__ import annotations

from dataclasses import dataclass

from e2e.faults.rules import masked

READS = frozenset({"GET", "HEAD", "OPTIONS"})
HEARTBEATS = frozenset({"leases"})
"""Written by the clock, not because something is to be changed: recorded, but no point of a matrix."""
TOLD = frozenset({"events"})
"""Messages for people: losing one loses no state."""
QUESTIONS = frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews", "tokenreviews", "subjectaccessreviews"})


@dataclass(frozen=True, slots=True)
class Target:
    """Kind (by its plural name), namespace, name and subresource; empty where the path has none."""

    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def masked(self) -> str:
        """Return kind, name and subresource, equal for equal things in different runs."""
        return "/".join(part for part in (self.plural, masked(self.name), self.subresource) if part)

    @property
    def changes_state(self) -> bool:
        """Whether a write to it can change what the cluster does."""
        return bool(self.plural) and self.plural not in HEARTBEATS | TOLD | QUESTIONS


def of_path(path: str) -> Target:
    """Return what `path` is about: `/api/v1/...`, `/apis/GROUP/VERSION/...`; anything else is about nothing."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"]:
        rest = parts[2:]
    elif parts[:1] == ["apis"]:
        rest = parts[3:]
    else:
        return Target("")
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "", "")[:3]
    return Target(plural, namespace, name, subresource)
