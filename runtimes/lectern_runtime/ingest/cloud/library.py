"""Finds out of Graph's changes what a run needs: where each file of a library lies, and who may read it.

Used by the sharePoint connector. Changes name items by ids and folders by their parents; a path is the names of the
folders on the way, asked for where the changes do not name them. An item with readers of its own is restricted where
these lack one of the library's; so is all below a restricted folder, and what cannot be told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from lectern_runtime.ingest.cloud.folders import Folders, Place
from lectern_runtime.ingest.cloud.graph_api import Graph, Node, Nodes
from lectern_runtime.ingest.cloud.latest import Latest
from lectern_runtime.ingest.cloud.rest import Refusal
from lectern_runtime.ingest.connector import Listed, SourceUnavailable

MAX_DEPTH = 400
MAX_FOLDERS = 500_000
MAX_PAGES = 1_000_000
_NOT_TOLD = frozenset({401, 403, 404})


@dataclass(slots=True)
class Library:
    """The library `id`. `prefix` begins the uri of its documents, `readers` are those of its root, if they are told."""

    graph: Graph
    id: str
    prefix: str
    readers: frozenset[str]
    folders: dict[str, Node] = field(default_factory=dict)
    children: Counter[str] = field(default_factory=Counter)
    latest: Latest = field(default_factory=Latest)
    link: str = ""
    _places: dict[str, Place | None] = field(default_factory=dict)

    async def read(self, link: str) -> str:
        """Take in all that changed since `link`, or everything. Raises `Refusal`, else `SourceUnavailable`.

        Returns the link that asks for what changes from now on.
        """
        page = await self.graph.delta(self.id, link)
        for _ in range(MAX_PAGES):
            await self._take(page)
            if page.link:
                self.link = page.link
                return self.link
            if not page.following or page.following == link:
                break
            link = page.following
            page = await self.graph.following(page)
        raise SourceUnavailable("Microsoft Graph's list of the library does not end; the next run asks again")

    async def _take(self, page: Nodes) -> None:
        for node in page.value:
            self.folders.pop(node.id, None)
            if node.folder is not None or node.root is not None:
                self.folders[node.id] = node
        if len(self.folders) > MAX_FOLDERS:
            raise SourceUnavailable(f"the library has more than {MAX_FOLDERS} folders; read another, smaller one")
        try:
            await self.latest.put([(node.id, node.model_dump_json(by_alias=True)) for node in page.value])
        except OSError as error:
            raise SourceUnavailable(
                f"the temporary directory does not take the library's list ({error.strerror}); give it more space"
            ) from error

    async def nodes(self) -> AsyncIterator[Node]:
        """Every item that was named, once, as it was named last."""
        async for _, text in self.latest.rows():
            yield Node.model_validate_json(text)

    # ----------------------------------------------------------------------------------------- places

    async def place(self, folder_id: str) -> Place | None:
        """Where a folder lies; None for one that is gone."""
        way: list[Node] = []
        place: Place | None = None
        while folder_id not in self._places:
            folder = await self._folder(folder_id) if len(way) < MAX_DEPTH else None
            if folder is None or folder.root is not None:
                self._places[folder_id] = Place("", restricted=False) if folder is not None else None
                break
            way.append(folder)
            folder_id = folder.parent.id
        place = self._places[folder_id]
        for folder in reversed(way):
            place = await self._below(place, folder) if place is not None else None
            self._places[folder.id] = place
        return place

    async def _folder(self, folder_id: str) -> Node | None:
        found = self.folders.get(folder_id)
        if found is None and folder_id:
            try:
                found = await self.graph.node(self.id, folder_id)
            except Refusal as refusal:
                if refusal.status != 404:
                    raise SourceUnavailable(f"Microsoft Graph does not tell of a folder ({refusal})") from refusal
        return None if found is None or found.deleted is not None else found

    async def _below(self, place: Place, node: Node) -> Place:
        return Place(place.below(node.name), place.restricted or await self._is_narrower(node))

    async def _is_narrower(self, node: Node) -> bool:
        if node.shared is None:
            return False
        try:
            found = await self.graph.readers(self.id, node.id)
        except Refusal as refusal:
            if refusal.status in _NOT_TOLD:
                return True
            raise SourceUnavailable(f"Microsoft Graph does not tell who may read an item ({refusal})") from refusal
        return not self.readers or not self.readers <= found

    async def listed(self, node: Node) -> Listed | None:
        """A file as a document of the run; None where its folder is gone."""
        folder = await self.place(node.parent.id)
        if folder is None:
            return None
        here = await self._below(folder, node)
        media_type = node.file.media_type if node.file is not None else ""
        return Listed(
            uri=self.uri(node.id),
            path=here.path,
            etag=node.content_tag or node.tag,
            size=node.size,
            restricted=here.restricted,
            media_type="" if media_type == "application/octet-stream" else media_type,
        )

    def uri(self, node_id: str) -> str:
        """The address of an item, which is the same under every name and in every folder."""
        return f"{self.prefix}{node_id}/content"

    # ---------------------------------------------------------------------------------------- folders

    async def note(self, folders: Folders) -> None:
        """Remember all folders that were named, as they are now."""
        folders.note(self.id, parent="", name=self._root(), restricted=False)
        for folder in self.folders.values():
            if folder.root is None and (place := await self.place(folder.id)) is not None:
                folders.note(folder.id, parent=folder.parent.id, name=folder.name, restricted=place.restricted)

    async def explained(self, folders: Folders) -> bool:
        """Whether the changes name every document whose path or readers changed.

        They do not where a folder is gone, was moved or renamed, has other readers, or came with what was in it.
        """
        if not folders.same(self.id, parent="", name=self._root(), restricted=False):
            return False
        async for node in self.nodes():
            if node.deleted is not None and node.id in folders:
                return False
            if node.deleted is None:
                self.children[node.parent.id] += 1
        for folder in self.folders.values():
            if folder.root is None and not await self._is_explained(folder, folders):
                return False
        return True

    async def _is_explained(self, folder: Node, folders: Folders) -> bool:
        if folder.deleted is not None:
            return True
        if folder.id not in folders:
            return folder.folder is not None and folder.folder.children == self.children[folder.id]
        place = await self.place(folder.id)
        return place is not None and folders.same(
            folder.id, parent=folder.parent.id, name=folder.name, restricted=place.restricted
        )

    def _root(self) -> str:
        """What stands for the readers of the root: when they change, so may what is restricted below it."""
        return " ".join(sorted(self.readers))
