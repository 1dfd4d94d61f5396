"""Who may read or write what: the one door to the store.

A `Scope` is made from a verified `Principal` (readers) or from a partition that an IngestionSource
declares (writers), never from what a request says. Each call of a store that touches documents takes
one; a lint test proves that no other place makes them. Nothing to read is an error, not everything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from lectern_contract.errors import ScopeDenied
from lectern_contract.payload import Field

FilterValue = str | int | bool


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """Tenant and access level: what a shard key stands for."""

    tenant: str
    access_level: str

    @property
    def key(self) -> str:
        """`tenant/accessLevel`; neither part can contain a slash."""
        return f"{self.tenant}/{self.access_level}"


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """A payload field must have one of `values`; an absent field never matches."""

    field: str
    values: tuple[FilterValue, ...]


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose identity was verified; made by the authenticators of the query runtime only."""

    subject: str
    tenant: str
    access_levels: frozenset[str]


@dataclass(frozen=True, slots=True)
class Scope:
    """What one call may touch: one tenant, some of its access levels, and the caller's own filters."""

    tenant: str
    access_levels: tuple[str, ...]
    filters: tuple[FieldFilter, ...] = field(default=())

    @classmethod
    def of_reader(
        cls,
        principal: Principal,
        *,
        known_levels: Iterable[str],
        filters: Mapping[str, tuple[FilterValue, ...]] | None = None,
        filterable: Iterable[str] = (),
    ) -> Scope:
        """Scope of a question: the principal's levels that the corpus knows; `filters` may only narrow.

        Raises `ScopeDenied` when no level is left or when a filter names a field that is not filterable.
        """
        levels = tuple(sorted(principal.access_levels & set(known_levels)))
        if not principal.tenant or not levels:
            raise ScopeDenied("the caller may read none of the access levels of this knowledge base")
        allowed = set(filterable)
        wanted = filters or {}
        for name in wanted:
            if name not in allowed:
                offer = ", ".join(sorted(allowed)) or "none"
                raise ScopeDenied(f"filter field {name!r} is not declared as filterable; declared: {offer}")
        chosen = tuple(FieldFilter(Field.metadata(name), tuple(values)) for name, values in sorted(wanted.items()))
        return cls(principal.tenant, levels, chosen)

    @classmethod
    def of_writer(cls, partition: Partition) -> Scope:
        """Scope of a worker that writes the documents of one partition."""
        if not partition.tenant or not partition.access_level:
            raise ScopeDenied("a document without tenant or access level cannot be written")
        return cls(partition.tenant, (partition.access_level,))

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions that the call may touch, in order."""
        return tuple(Partition(self.tenant, level) for level in self.access_levels)

    @property
    def partition(self) -> Partition:
        """The only partition of a writer's scope; an error for any other."""
        if len(self.access_levels) != 1:
            raise ScopeDenied(f"a write needs exactly one access level, got {len(self.access_levels)}")
        return Partition(self.tenant, self.access_levels[0])

    @property
    def unfiltered(self) -> Scope:
        """The same reader's scope without the filters of the question: for what is no chunk and has no such fields."""
        return replace(self, filters=())

    @property
    def must(self) -> tuple[FieldFilter, ...]:
        """The mandatory filter: every stored thing that a call sees matches all of it."""
        return (
            FieldFilter(Field.TENANT, (self.tenant,)),
            FieldFilter(Field.ACCESS_LEVEL, self.access_levels),
            *self.filters,
        )

    def digest(self) -> str:
        """Hex sha256 of all that decides what is visible: part of every cache key."""
        parts = [self.tenant, self.access_levels, [[f.field, f.values] for f in self.filters]]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()
