"""Lists and reads the files below one folder of Google Drive, in a user's drive or a shared one.

Used by `run.py` through the registry. A document's uri is the address under which people open it, which stays the same
when it is renamed or moved. The first run walks all folders; later ones ask what changed since. Documents of Google's
own are exported as those of Office. Shortcuts are not followed: a document lies where its bytes lie.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from lectern_contract.errors import DocumentError
from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import GoogleDriveSource
from lectern_runtime.ingest.cloud import drive_tree, rest
from lectern_runtime.ingest.cloud.drive_api import FOLDER, Change, Drive, File
from lectern_runtime.ingest.cloud.drive_tree import Place, Tree
from lectern_runtime.ingest.cloud.folders import Folders
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
from lectern_runtime.ingest.web.guarded import Resolve

MAX_CHANGES = 50_000
"""After more changes than this everything is listed, which costs no more memory."""
_FIELD = "spec.googleDrive.folderId"
_NO_CURSOR = frozenset({400, 404, 410})
_OF_ONE_DOCUMENT: Mapping[str, tuple[str, str]] = {
    "notFound": ("Vanished", "it was removed after it was listed, or is shared with this account no more"),
    "exportSizeLimitExceeded": ("TooLarge", "Google exports no more than 10 MB of a document; split it or exclude it"),
    "fileNotDownloadable": ("NotReadable", "it is a shortcut, a form or another thing without bytes; exclude it"),
    "cannotDownloadFile": ("AccessDenied", "its owner lets nobody download it; allow it, or exclude the file"),
    "cannotDownloadAbusiveFile": ("Abusive", "Google takes it for malware or spam; exclude it"),
    "insufficientFilePermissions": ("AccessDenied", "the account may see it and not read it; share it, or exclude it"),
}


class _Cursor(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: str
    folders: str


def open_connector(settings: ConnectorSettings, means: Means) -> GoogleDrive:
    """The connector for the folder that `settings.source` names."""
    return GoogleDrive(settings, means)


class GoogleDrive:
    """The documents of one source. `resolve` and `retries` are replaced in tests only."""

    def __init__(
        self,
        settings: ConnectorSettings,
        means: Means,
        *,
        resolve: Resolve = guarded.resolve,
        retries: Retries | None = None,
    ) -> None:
        assert isinstance(settings.source, GoogleDriveSource)
        self._source = settings.source
        self._max_bytes = settings.max_document_bytes
        self._means, self._resolve, self._retries = means, resolve, retries or Retries()
        self._client: httpx.AsyncClient | None = None
        self._drive: Drive | None = None

    async def list(self, known: Known) -> Listing:
        """What changed since the cursor, or everything. Raises `SourceUnavailable` or, for a folder without
        anything in it, `SourceEmpty`.
        """
        drive = self._opened()
        root = await self._root(drive)
        changed = await self._changed(drive, root, known.cursor) if known.cursor else None
        if changed is not None:
            return changed
        token = await self._asked(drive.start(root.drive_id))  # first: what happens meanwhile is a change
        tree = Tree(drive, root, Folders())
        tree.folders.note(root.id, parent="", name=_readers(root), restricted=False)
        return Listing(self._everything(tree), cursor=lambda: _cursor(token, tree.folders))

    async def fetch(self, listed: Listed) -> Fetched:
        """The document's bytes. Raises `DocumentError`, for instance Vanished, TooLarge or NotReadable."""
        drive = self._opened()
        file_id, export = drive_tree.from_uri(listed.uri)
        try:
            if export:
                data = await drive.export(file_id, export, limit=self._max_bytes)
            else:
                data = await drive.data(file_id, limit=self._max_bytes)
        except Refusal as refusal:
            raise _refused(refusal) from refusal
        if len(data) > self._max_bytes:
            limit = self._max_bytes
            raise _fault(
                "TooLarge", f"it has more than {limit} bytes; raise spec.parsing.maxDocumentBytes or exclude it"
            )
        title = listed.path.rpartition("/")[2].rpartition(".")[0] if export else ""
        return Fetched(data, media_type=export or listed.media_type, title=title)

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = self._drive = None

    # ------------------------------------------------------------------------------------ everything

    async def _root(self, drive: Drive) -> File:
        try:
            found = await drive.file(self._source.folder_id)
        except Refusal as refusal:
            raise SourceUnavailable(
                f"the folder of {_FIELD} cannot be read ({refusal}); share it with the service account, or correct it"
            ) from refusal
        if found.trashed or found.media_type != FOLDER:
            what = "lies in the trash" if found.trashed else "is no folder"
            raise SourceUnavailable(f"what {_FIELD} names {what}; name another, or bring it back")
        return found

    async def _everything(self, tree: Tree) -> AsyncIterator[Item]:
        empty = True
        async for listed in tree.walk(tree.root, Place("", restricted=False)):
            empty = False
            yield listed
        if empty:
            raise SourceEmpty(
                f"the folder of {_FIELD} holds no file, as one that is not the one meant; if it was emptied on "
                "purpose, put any file there and run again"
            )

    # --------------------------------------------------------------------------------------- changes

    async def _changed(self, drive: Drive, root: File, text: str) -> Listing | None:
        """What changed; None where everything must be listed to know it."""
        try:
            cursor = _Cursor.model_validate_json(text)
        except ValidationError:
            return None
        folders = Folders.read(cursor.folders)
        found = await self._pages(drive, cursor.token, root.drive_id)
        if found is None or not folders.same(root.id, parent="", name=_readers(root), restricted=False):
            return None
        changes, token = found
        tree = Tree(drive, root, folders)
        moved: list[File] = []
        items: list[Item] = []
        for file_id, change in changes.items():
            if file_id == root.id:
                continue  # only touched: its readers are the same
            if file_id in folders or (change.file is not None and change.file.media_type == FOLDER):
                verdict = await self._folder_changed(tree, change.file)
                if verdict is None:
                    return None
                moved += verdict
            elif change.file is None and not folders.known:
                return None  # nobody knows whether it was a folder
            else:
                items += await self._file_changed(tree, file_id, change.file)
        return Listing(self._changes(tree, items, moved), whole=False, cursor=lambda: _cursor(token, folders))

    async def _pages(self, drive: Drive, token: str, drive_id: str) -> tuple[dict[str, Change], str] | None:
        """The last change of each file, with the token that comes after; None where the token is none any more."""
        changes: dict[str, Change] = {}
        try:
            page = await drive.changes(token, drive_id)
            while True:
                for change in page.changes:
                    if change.kind == "file" and change.file_id:
                        changes[change.file_id] = change.model_copy(update={"file": _there(change)})
                if page.start:
                    return changes, page.start
                if not page.following or page.following == token or len(changes) > MAX_CHANGES:
                    return None
                token = page.following
                page = await drive.changes(token, drive_id)
        except Refusal as refusal:
            if refusal.status in _NO_CURSOR:
                return None
            raise _unanswered(refusal) from refusal

    async def _folder_changed(self, tree: Tree, folder: File | None) -> tuple[File, ...] | None:
        """The folder where all below it is to be listed, nothing where nothing is, None where everything is."""
        before = folder is not None and folder.id in tree.folders
        if folder is None or not tree.folders.known:
            return None
        place = await tree.place(folder.parents[0]) if folder.parents else None
        if place is None:
            return None if before else ()  # what lay in it is gone, and nobody tells what that was
        return () if before and tree.unchanged(folder, place, folder.parents[0]) else (folder,)

    async def _file_changed(self, tree: Tree, file_id: str, file: File | None) -> Sequence[Item]:
        place = await tree.place(file.parents[0]) if file is not None and file.parents else None
        if file is None or place is None:
            return [Gone(each) for each in drive_tree.uris(file_id)]
        return [tree.listed(file, place)]

    async def _changes(self, tree: Tree, items: Sequence[Item], moved: Sequence[File]) -> AsyncIterator[Item]:
        for item in items:
            yield item
        for folder in moved:
            place = await tree.place(folder.parents[0])
            assert place is not None
            async for listed in tree.walk(folder, tree.note(folder, place, folder.parents[0])):
                yield listed

    async def _asked(self, answer: Awaitable[str]) -> str:
        try:
            return await answer
        except Refusal as refusal:
            raise _unanswered(refusal) from refusal

    def _opened(self) -> Drive:
        if self._drive is None:
            self._client = rest.open_client([self._source.api_url], elsewhere=True, resolve=self._resolve)
            self._drive = Drive(self._source, self._means, self._client, self._retries)
        return self._drive


def _there(change: Change) -> File | None:
    """The file of a change; None where it is gone."""
    return None if change.removed or change.file is None or change.file.trashed else change.file


def _readers(root: File) -> str:
    """What stands for the readers of the root: when they change, so may what is restricted below it."""
    return " ".join(sorted(root.readers))


def _cursor(token: str, folders: Folders) -> str:
    return json.dumps({"token": token, "folders": folders.text()}, separators=(",", ":"))


def _unanswered(refusal: Refusal) -> SourceUnavailable:
    return SourceUnavailable(
        f"Google Drive refuses to answer ({refusal}); see that its API is enabled in the service account's project"
    )


def _refused(refusal: Refusal) -> Exception:
    told = _OF_ONE_DOCUMENT.get(refusal.code) or (_OF_ONE_DOCUMENT["notFound"] if refusal.status == 404 else None)
    if told is not None:
        return _fault(*told)
    if refusal.status in (401, 429) or refusal.status >= 500:
        return TryAgain(f"Google Drive cannot answer now ({refusal}); see its state")
    return _fault("Refused", f"Google Drive does not give it ({refusal}); see its sharing, or exclude it")


def _fault(reason: str, detail: str) -> DocumentError:
    return DocumentError(detail, stage="fetch", reason=reason)
