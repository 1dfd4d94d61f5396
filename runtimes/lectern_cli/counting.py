"""How many documents each source has in a store, by its catalogue: for the embedded mode, where one process has it.

On a cluster the operator counts, by one question for all sources; a store in this process is read through instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lectern_contract.payload import DocumentState
from lectern_contract.scope import Partition, Scope
from lectern_contract.settings import ConnectorSettings, ReceiverSettings
from lectern_runtime.ports import VectorStore

MOST_RECORDS = 200_000
"""Records that one count reads; nobody says which source of a larger catalogue has how many."""
_PAGE = 1000


@dataclass
class Counted:
    """Documents of one source by state; why some failed, the newest last."""

    states: Counter[DocumentState] = field(default_factory=Counter)
    last_reason: str = ""
    newest_failure: int = -1

    @property
    def indexed(self) -> int:
        """Documents that can be found."""
        return self.states[DocumentState.INDEXED]

    @property
    def total(self) -> int:
        """All records, those of deleted documents too."""
        return self.states.total()

    @property
    def failed(self) -> int:
        """Documents that were given up: as many dead letters are open."""
        return self.states[DocumentState.FAILED]


@dataclass(frozen=True)
class Count:
    """When documents were counted last: at which state, and the monotonic time before which not again."""

    mark: tuple[int, int] | None = None
    not_before: float = 0.0


def partitions(sources: Iterable[ConnectorSettings | ReceiverSettings]) -> list[Partition]:
    """Every partition that `sources` put documents into by their settings, in order."""
    found: set[Partition] = set()
    for source in sources:
        here = source.partition
        named = [(here.tenant, here.access_level)]
        named += [(rule.tenant, rule.access_level) for rule in source.partition_rules]
        found.update(Partition(tenant, level) for tenant, level in named)
        if isinstance(source, ReceiverSettings):
            found.update(Partition(tenant, level) for tenant, _ in named for level in source.access_levels)
        elif (level := source.restricted_access_level) is not None:
            found.update(Partition(tenant, level) for tenant, _ in named)
    return sorted(found)


async def count(store: VectorStore, collection: str, where: Iterable[Partition]) -> dict[str, Counted] | None:
    """Documents by source in these partitions of a collection; None when there are more than `MOST_RECORDS`."""
    found: dict[str, Counted] = {}
    read = 0
    for partition in where:
        scope, after = Scope.of_writer(partition), None
        while True:
            page = await store.list_records(collection, scope, after=after, limit=_PAGE)
            if (read := read + len(page)) > MOST_RECORDS:
                return None
            for record in page:
                counted = found.setdefault(record.source, Counted())
                counted.states[record.state] += 1
                if record.state is DocumentState.FAILED and record.version > counted.newest_failure:
                    counted.newest_failure = record.version
                    counted.last_reason = record.reason.partition(":")[0][:64]
            if len(page) < _PAGE:
                break
            after = page[-1].document_id
    return found
