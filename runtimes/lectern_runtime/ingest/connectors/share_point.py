"""Lists and reads the files of a SharePoint document library.

Used by `run.py` through the registry. A document's uri is its address by id, which stays the same when it is renamed
or moved, and which SharePoint opens for those who may read it. Everything is listed as changes from the beginning, and
later runs go on from there; where changes do not tell all (a folder was renamed), everything is listed again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from urllib.parse import urlsplit

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import SharePointSource
from lectern_runtime.ingest.cloud import rest
from lectern_runtime.ingest.cloud.cursor_source import Cursor, CursorSource, Vendor
from lectern_runtime.ingest.cloud.folders import Folders
from lectern_runtime.ingest.cloud.graph_api import Clients, Graph, Node
from lectern_runtime.ingest.cloud.library import Library
from lectern_runtime.ingest.cloud.rest import Refusal
from lectern_runtime.ingest.connector import Fetched, Gone, Item, Listed, Listing, Means
from lectern_runtime.ingest.web import guarded
from lectern_runtime.ingest.web.addresses import Network
from lectern_runtime.ingest.web.api_source import Asking

_GONE = ("Vanished", "it was removed after it was listed")
_VENDOR = Vendor(
    name="SharePoint",
    place="the library of spec.sharePoint",
    grant="grant the application Sites.Read.All, or the next run asks again",
    faults={
        403: ("AccessDenied", "the application may list it and not read it; grant it Sites.Read.All, or exclude it"),
        404: _GONE,
        410: _GONE,
        423: ("Locked", "somebody has it checked out or locked; the next run tries again"),
    },
    other=("NotReadable", "exclude it"),
)


class _Cursor(Cursor):
    library: str
    link: str


def open_connector(settings: ConnectorSettings, means: Means) -> SharePoint:
    """The connector for the library that `settings.source` names."""
    return SharePoint(settings, means)


class SharePoint(CursorSource[Graph]):
    """The documents of one source. `private` networks may have its bytes in tests only."""

    vendor = _VENDOR

    def __init__(
        self,
        settings: ConnectorSettings,
        means: Means,
        asking: Asking | None = None,
        *,
        private: Sequence[Network] = (),
    ) -> None:
        super().__init__(settings, means, asking)
        self._private = private
        self._library = ""
        self._read_lists: list[Library] = []

    @property
    def _source(self) -> SharePointSource:
        assert isinstance(self._settings.source, SharePointSource)
        return self._settings.source

    def _open(self) -> Graph:
        api = self._keep(
            rest.open_client([self._source.graph_url, self._source.login_url], resolve=self._asking.resolve)
        )
        # Never less protected than the API itself: Graph is asked by https.
        schemes = frozenset({"https", urlsplit(self._source.graph_url).scheme})
        guard = rest.CloudGuard(frozenset(), self._private, self._asking.resolve, schemes)
        tls = guarded.tls_context(None)
        downloads = self._keep(guarded.open_client(guard, tls=tls, user_agent=rest.USER_AGENT))
        return Graph(self._source, self._means, Clients(api, downloads), self._asking.retries)

    async def _read(self, listed: Listed) -> Fetched:
        graph = self._opened()
        if not self._library:
            self._library = await graph.library()
        node = listed.uri.removeprefix(self._prefix()).removesuffix("/content")
        data = await graph.data(self._library, node, limit=self._max_bytes)
        return Fetched(data, media_type=listed.media_type)

    async def close(self) -> None:
        """Close all connections and remove what was put aside."""
        await self._leave()
        await super().close()

    # --------------------------------------------------------------------------------------- listing

    async def _prepare(self) -> None:
        await self._leave()
        self._library = await self._opened().library()

    async def _everything(self) -> Listing:
        library, folders = await self._new(), Folders()
        return Listing(self._all(library, folders), cursor=partial(_text, library, folders))

    async def _all(self, library: Library, folders: Folders) -> AsyncIterator[Item]:
        await self._answer(library.read(""))
        async for node in library.nodes():
            if _is_document(node) and (listed := await library.listed(node)) is not None:
                yield listed
        await library.note(folders)

    async def _changes_since(self, cursor: str) -> Listing | None:
        before = _Cursor.read(cursor)
        if before is None:
            return None
        folders = Folders.read(before.folders)
        if before.library != self._library or not folders.known:
            return None
        library = await self._new()
        if await self._answer_since(library.read(before.link)) is None or not await library.explained(folders):
            return None
        await library.note(folders)
        return Listing(_changes(library), cursor=partial(_text, library, folders))

    # ---------------------------------------------------------------------------------------- holding

    async def _new(self) -> Library:
        """What is to be read of the library, with those who may read it; nobody where that cannot be told."""
        graph = self._opened()
        try:
            readers = await graph.readers(self._library, "root")
        except Refusal as refusal:
            if refusal.status not in (401, 403, 404):
                raise self.vendor.of_listing(refusal) from refusal
            readers = frozenset()
        library = Library(graph, self._library, self._prefix(), readers)
        self._read_lists.append(library)
        return library

    def _prefix(self) -> str:
        return f"{self._source.site_url.rstrip('/')}/_api/v2.0/drives/{self._library}/items/"

    async def _leave(self) -> None:
        while self._read_lists:
            await self._read_lists.pop().latest.close()


async def _changes(library: Library) -> AsyncIterator[Item]:
    async for node in library.nodes():
        if _is_document(node):
            yield await library.listed(node) or Gone(library.uri(node.id))
        elif node.deleted is not None:
            yield Gone(library.uri(node.id))


def _is_document(node: Node) -> bool:
    return node.folder is None and node.root is None and node.deleted is None


def _text(library: Library, folders: Folders) -> str:
    return _Cursor(library=library.id, link=library.link, folders=folders.text()).text()
