"""A STUB of a vector store that keeps nothing: for the memory of a worker, which a store in its process would hide."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lectern_contract.ids import DocumentId
from lectern_contract.payload import DocumentRecord, DocumentState
from lectern_contract.scope import Scope
from lectern_runtime.ports import CollectionInfo, CollectionSpec, DocumentWrite, Hit, SearchRequest, WriteResult


class ForgetfulStore:
    """A `VectorStore` that takes everything and has nothing."""

    async def ensure_collection(self, spec: CollectionSpec) -> None:
        """Take any collection."""

    async def describe(self, collection: str) -> CollectionInfo | None:
        """Know none."""
        del collection
        return None

    async def drop_collection(self, collection: str) -> None:
        """Have nothing to remove."""

    async def point_alias(self, alias: str, collection: str) -> None:
        """Keep no alias."""

    async def resolve_alias(self, alias: str) -> str | None:
        """Know none."""
        del alias
        return None

    async def aliases(self) -> Mapping[str, str]:
        """Return none."""
        return {}

    async def count_documents(self, collection: str) -> Mapping[DocumentState, int]:
        """Return zeros."""
        del collection
        return dict.fromkeys(DocumentState, 0)

    async def search(self, collection: str, scope: Scope, request: SearchRequest) -> Sequence[Hit]:
        """Find nothing."""
        del collection, scope, request
        return []

    async def get_records(
        self, collection: str, scope: Scope, documents: Collection[DocumentId]
    ) -> Mapping[DocumentId, DocumentRecord]:
        """Know none."""
        del collection, scope, documents
        return {}

    async def known_vectors(
        self, collection: str, scope: Scope, document: DocumentId
    ) -> Mapping[str, NDArray[np.float32]]:
        """Know none."""
        del collection, scope, document
        return {}

    async def write_documents(
        self, collection: str, scope: Scope, writes: Sequence[DocumentWrite]
    ) -> Sequence[WriteResult]:
        """Take the documents and forget them."""
        del collection, scope
        return [WriteResult(superseded=False) for _ in writes]

    async def remove_outdated(self, collection: str, scope: Scope, documents: Collection[DocumentId]) -> None:
        """Have nothing to remove."""
        del collection, scope, documents

    async def list_records(
        self, collection: str, scope: Scope, *, after: DocumentId | None, limit: int
    ) -> Sequence[DocumentRecord]:
        """Return none."""
        del collection, scope, after, limit
        return []

    async def close(self) -> None:
        """Have nothing to release."""
