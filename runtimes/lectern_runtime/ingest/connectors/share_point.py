"""Lists and reads the files of a SharePoint document library.

Used by `run.py` through the registry. A document's uri is its address by id, which stays the same when it is renamed
or moved, and which SharePoint opens for those who may read it. Everything is listed as changes from the beginning, and
later runs go on from there; where changes do not tell all (a folder was renamed), everything is listed again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from lectern_contract.errors import DocumentError
from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import SharePointSource
from lectern_runtime.ingest.cloud import rest
from lectern_runtime.ingest.cloud.folders import Folders
from lectern_runtime.ingest.cloud.graph_api import Clients, Graph, Node
from lectern_runtime.ingest.cloud.library import Library
from lectern_runtime.ingest.cloud.rest import Refusal
from lectern_runtime.ingest.connector import (
    Fetched,
    Gone,
    Item,
    Known,
    Listed,
    Listing,
    Means,
    SourceEmpty,
    SourceUnavailable,
)
from lectern_runtime.ingest.retries import Retries, TryAgain
from lectern_runtime.ingest.web import guarded
from lectern_runtime.ingest.web.addresses import Network
from lectern_runtime.ingest.web.guarded import Resolve

_NO_CURSOR = frozenset({400, 404, 410})
_OF_ONE_DOCUMENT: Mapping[int, tuple[str, str]] = {
    403: ("AccessDenied", "the application may list it and not read it; grant it Sites.Read.All, or exclude it"),
    404: ("Vanished", "it was removed after it was listed"),
    410: ("Vanished", "it was removed after it was listed"),
    423: ("Locked", "somebody has it checked out or locked; the next run tries again"),
}


class _Cursor(BaseModel):
    model_config = ConfigDict(extra="forbid")

    library: str
    link: str
    folders: str


def open_connector(settings: ConnectorSettings, means: Means) -> SharePoint:
    """The connector for the library that `settings.source` names."""
    return SharePoint(settings, means)


class SharePoint:
    """The documents of one source. `resolve`, `retries` and `private` are replaced in tests only."""

    def __init__(
        self,
        settings: ConnectorSettings,
        means: Means,
        *,
        resolve: Resolve = guarded.resolve,
        retries: Retries | None = None,
        private: Sequence[Network] = (),
    ) -> None:
        assert isinstance(settings.source, SharePointSource)
        self._source = settings.source
        self._max_bytes = settings.max_document_bytes
        self._means, self._resolve, self._retries, self._private = means, resolve, retries or Retries(), private
        self._clients: Clients | None = None
        self._graph: Graph | None = None
        self._library = ""
        self._read: list[Library] = []

    async def list(self, known: Known) -> Listing:
        """What changed since the cursor, or everything. Raises `SourceUnavailable` or `SourceEmpty`."""
        await self._leave()
        graph = self._opened()
        self._library = await graph.library()
        readers = await self._readers(graph)
        if known.cursor and (listing := await self._changed(graph, readers, known.cursor)) is not None:
            return listing
        library = self._new(graph, readers)
        folders = Folders()
        return Listing(self._everything(library, folders), cursor=lambda: _cursor(library, folders))

    async def fetch(self, listed: Listed) -> Fetched:
        """The document's bytes. Raises `DocumentError`, for instance Vanished, TooLarge or AccessDenied."""
        graph = self._opened()
        if not self._library:
            self._library = await graph.library()
        node = listed.uri.removeprefix(self._prefix()).removesuffix("/content")
        try:
            data = await graph.data(self._library, node, limit=self._max_bytes)
        except Refusal as refusal:
            raise _refused(refusal) from refusal
        if len(data) > self._max_bytes:
            limit = self._max_bytes
            raise _fault(
                "TooLarge", f"it has more than {limit} bytes; raise spec.parsing.maxDocumentBytes or exclude it"
            )
        return Fetched(data, media_type=listed.media_type)

    async def close(self) -> None:
        """Close all connections and remove what was put aside."""
        await self._leave()
        if self._clients is not None:
            await self._clients.close()
            self._clients = self._graph = None

    # --------------------------------------------------------------------------------------- listing

    async def _everything(self, library: Library, folders: Folders) -> AsyncIterator[Item]:
        try:
            await library.read("")
        except Refusal as refusal:
            raise _unanswered(refusal) from refusal
        empty = True
        async for node in library.nodes():
            if _is_document(node) and (listed := await library.listed(node)) is not None:
                empty = False
                yield listed
        if empty:
            raise SourceEmpty(
                "the library of spec.sharePoint holds no file, as one that is not the one meant; if it was emptied on "
                "purpose, put any file there and run again"
            )
        await library.note(folders)

    async def _changed(self, graph: Graph, readers: frozenset[str], text: str) -> Listing | None:
        """What changed; None where everything must be listed to know it."""
        try:
            cursor = _Cursor.model_validate_json(text)
        except ValidationError:
            return None
        folders = Folders.read(cursor.folders)
        if cursor.library != self._library or not folders.known:
            return None
        library = self._new(graph, readers)
        try:
            await library.read(cursor.link)
        except Refusal as refusal:
            if refusal.status in _NO_CURSOR:
                return None
            raise _unanswered(refusal) from refusal
        if not await library.explained(folders):
            return None
        await library.note(folders)
        return Listing(self._changes(library), whole=False, cursor=lambda: _cursor(library, folders))

    async def _changes(self, library: Library) -> AsyncIterator[Item]:
        async for node in library.nodes():
            if _is_document(node):
                yield await library.listed(node) or Gone(library.uri(node.id))
            elif node.deleted is not None:
                yield Gone(library.uri(node.id))

    async def _readers(self, graph: Graph) -> frozenset[str]:
        """Who may read the library; nobody where that cannot be told."""
        try:
            return await graph.readers(self._library, "root")
        except Refusal as refusal:
            if refusal.status in (401, 403, 404):
                return frozenset()
            raise _unanswered(refusal) from refusal

    # ---------------------------------------------------------------------------------------- holding

    def _new(self, graph: Graph, readers: frozenset[str]) -> Library:
        library = Library(graph, self._library, self._prefix(), readers)
        self._read.append(library)
        return library

    def _prefix(self) -> str:
        return f"{self._source.site_url.rstrip('/')}/_api/v2.0/drives/{self._library}/items/"

    async def _leave(self) -> None:
        while self._read:
            await self._read.pop().latest.close()

    def _opened(self) -> Graph:
        if self._graph is None:
            roots = [self._source.graph_url, self._source.login_url]
            api = rest.open_client(roots, resolve=self._resolve)
            # Never less protected than the API itself: Graph is asked by https.
            schemes = frozenset({"https", urlsplit(self._source.graph_url).scheme})
            guard = rest.CloudGuard(frozenset(), self._private, self._resolve, schemes)
            tls = guarded.tls_context(None)
            self._clients = Clients(api, guarded.open_client(guard, tls=tls, user_agent=rest.USER_AGENT))
            self._graph = Graph(self._source, self._means, self._clients, self._retries)
        return self._graph


def _is_document(node: Node) -> bool:
    return node.folder is None and node.root is None and node.deleted is None


def _cursor(library: Library, folders: Folders) -> str:
    found = {"library": library.id, "link": library.link, "folders": folders.text()}
    return json.dumps(found, separators=(",", ":"))


def _unanswered(refusal: Refusal) -> SourceUnavailable:
    return SourceUnavailable(
        f"Microsoft Graph refuses to list the library ({refusal}); grant the application Sites.Read.All, or the next "
        "run asks again"
    )


def _refused(refusal: Refusal) -> Exception:
    if refusal.status in (401, 429) or refusal.status >= 500:
        return TryAgain(f"SharePoint cannot answer now ({refusal}); see its state")
    told = _OF_ONE_DOCUMENT.get(refusal.status)
    return _fault(*told) if told else _fault("NotReadable", f"SharePoint gives no bytes of it ({refusal}); exclude it")


def _fault(reason: str, detail: str) -> DocumentError:
    return DocumentError(detail, stage="fetch", reason=reason)
