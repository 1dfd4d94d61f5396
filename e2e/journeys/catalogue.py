"""What a data directory holds, read from its store after the process has ended, without the product's queries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from lectern_contract.payload import DocumentState
from lectern_contract.scope import Partition, Scope
from lectern_runtime.adapters.edge import EdgeStore

_PAGE = 1000


@dataclass(frozen=True)
class Catalogue:
    """The documents behind an alias by uri: digest of their bytes and digests of their chunks' texts.

    `chunks` counts every chunk in the collection, `owned` those that belong to a document of the catalogue.
    """

    documents: dict[str, tuple[str, frozenset[str]]]
    chunks: int
    owned: int


def read(data: Path) -> Catalogue:
    """The catalogue of a stopped data directory that holds the usual resources' documents."""
    return asyncio.run(_read(data / "store", "default.docs", Scope.of_writer(Partition("acme", "public"))))


async def _read(path: Path, alias: str, scope: Scope) -> Catalogue:
    store = await EdgeStore.open(path)
    try:
        collection = await store.resolve_alias(alias)
        assert collection is not None, f"no alias {alias} in {path}: {await store.aliases()}"
        info = await store.describe(collection)
        assert info is not None
        records = await store.list_records(collection, scope, after=None, limit=_PAGE)
        assert len(records) < _PAGE
        documents, owned = {}, 0
        for record in records:
            digests = frozenset(await store.known_vectors(collection, scope, record.document_id))
            if record.state is DocumentState.INDEXED:
                assert record.uri not in documents, f"{record.uri} stands twice in the catalogue"
                documents[record.uri] = (record.sha256, digests)
                owned += record.chunks
            else:
                assert not digests, f"{record.uri} is {record.state.value} and has chunks"
        return Catalogue(documents, info.chunks, owned)
    finally:
        await store.close()
