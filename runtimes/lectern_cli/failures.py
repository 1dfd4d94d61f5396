"""Documents that could not be indexed, by their uri: read from the catalogue at the start, then kept up to date.

`embedded` keeps one for each knowledge base, so that `lectern status` names what `documents.failed` counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lectern_contract.payload import DocumentState
from lectern_contract.scope import Partition, Scope
from lectern_contract.settings import ConnectorSettings, ReceiverSettings
from lectern_runtime.ports import VectorStore

MOST_KEPT = 100
MOST_NAMED = 5
_PAGE = 1000
_MOST_PAGES = 100


@dataclass
class Failures:
    """Reasons of the documents that failed, at most `MOST_KEPT` of them; the catalogue has the true number."""

    reasons: dict[str, str] = field(default_factory=dict)

    def failed(self, uri: str, reason: str) -> None:
        """Note that the document at `uri` was given up."""
        if uri in self.reasons or len(self.reasons) < MOST_KEPT:
            self.reasons[uri] = reason

    def settled(self, uri: str) -> None:
        """Note that the document at `uri` is fine now, or gone."""
        self.reasons.pop(uri, None)

    def sentence(self, count: int) -> str:
        """What a person reads about `count` failed documents; empty when there is none."""
        if count <= 0:
            return ""
        named = [f"{uri} ({reason})" for uri, reason in sorted(self.reasons.items())[:MOST_NAMED]]
        more = [f"and {count - len(named)} more"] if count > len(named) else []
        what = "1 document" if count == 1 else f"{count} documents"
        return f"{what} could not be indexed: {', '.join((*named, *more))}"


def partitions(sources: Iterable[ConnectorSettings | ReceiverSettings]) -> list[Partition]:
    """Every partition that `sources` put documents into, in order."""
    found: set[Partition] = set()
    for source in sources:
        found.add(Partition(source.partition.tenant, source.partition.access_level))
        found.update(Partition(rule.tenant, rule.access_level) for rule in source.partition_rules)
    return sorted(found)


async def read(store: VectorStore, collection: str, where: Iterable[Partition]) -> Failures:
    """The failed documents of a collection, from its catalogue; the first 100,000 records of a partition are read."""
    failures = Failures()
    for partition in where:
        scope, after = Scope.of_writer(partition), None
        for _ in range(_MOST_PAGES):
            page = await store.list_records(collection, scope, after=after, limit=_PAGE)
            for record in page:
                if record.state is DocumentState.FAILED:
                    failures.failed(record.uri, record.reason.partition(":")[0])
            if len(page) < _PAGE or len(failures.reasons) >= MOST_KEPT:
                break
            after = page[-1].document_id
    return failures
