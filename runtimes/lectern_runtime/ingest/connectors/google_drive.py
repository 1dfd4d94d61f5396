"""Lists and reads the files below one folder of Google Drive, in a user's drive or a shared one.

Used by `run.py` through the registry. A document's uri is the address under which people open it, which stays the same
when it is renamed or moved. The first run walks all folders; later ones ask what changed since. Documents of Google's
own are exported as those of Office. Shortcuts are not followed: a document lies where its bytes lie.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import GoogleDriveSource
from lectern_runtime.ingest.cloud import drive_tree, rest
from lectern_runtime.ingest.cloud.cursor_source import Cursor, CursorSource, Vendor
from lectern_runtime.ingest.cloud.drive_api import FOLDER, Change, Drive, File
from lectern_runtime.ingest.cloud.drive_tree import Tree
from lectern_runtime.ingest.cloud.folders import Folders, Place
from lectern_runtime.ingest.cloud.rest import Refusal
from lectern_runtime.ingest.connector import Fetched, Gone, Item, Listed, Listing, Means, SourceUnavailable

MAX_CHANGES = 50_000
"""After more changes than this everything is listed, which costs no more memory."""
MAX_CHANGE_PAGES = 10_000
"""Pages may be empty, and need not end by themselves."""
_FIELD = "spec.googleDrive.folderId"
_GONE = ("Vanished", "it was removed after it was listed, or is shared with this account no more")
_VENDOR = Vendor(
    name="Google Drive",
    place=f"the folder of {_FIELD}",
    grant="see that its API is enabled in the service account's project",
    faults={
        404: _GONE,
        "notFound": _GONE,
        "exportSizeLimitExceeded": (
            "TooLarge",
            "Google exports no more than 10 MB of a document; split it or exclude it",
        ),
        "fileNotDownloadable": (
            "NotReadable",
            "it is a shortcut, a form or another thing without bytes; exclude it",
        ),
        "cannotDownloadFile": (
            "AccessDenied",
            "its owner lets nobody download it; allow it, or exclude the file",
        ),
        "cannotDownloadAbusiveFile": ("Abusive", "Google takes it for malware or spam; exclude it"),
        "insufficientFilePermissions": (
            "AccessDenied",
            "the account may see it and not read it; share it, or exclude it",
        ),
    },
    other=("Refused", "see its sharing, or exclude it"),
)


class _Cursor(Cursor):
    token: str


def open_connector(settings: ConnectorSettings, means: Means) -> GoogleDrive:
    """The connector for the folder that `settings.source` names."""
    return GoogleDrive(settings, means)


class GoogleDrive(CursorSource[Drive]):
    """The documents of one source."""

    vendor = _VENDOR
    _root: File

    @property
    def _source(self) -> GoogleDriveSource:
        assert isinstance(self._settings.source, GoogleDriveSource)
        return self._settings.source

    def _open(self) -> Drive:
        client = self._keep(rest.open_client([self._source.api_url], elsewhere=True, resolve=self._asking.resolve))
        return Drive(self._source, self._means, client, self._asking.retries)

    async def _read(self, listed: Listed) -> Fetched:
        drive = self._opened()
        file_id, export = drive_tree.from_uri(listed.uri)
        if not export:
            return Fetched(await drive.data(file_id, limit=self._max_bytes), media_type=listed.media_type)
        title = listed.path.rpartition("/")[2].rpartition(".")[0]
        return Fetched(await drive.export(file_id, export, limit=self._max_bytes), media_type=export, title=title)

    # ------------------------------------------------------------------------------------ everything

    async def _prepare(self) -> None:
        try:
            found = await self._opened().file(self._source.folder_id)
        except Refusal as refusal:
            raise SourceUnavailable(
                f"the folder of {_FIELD} cannot be read ({refusal}); share it with the service account, or correct it"
            ) from refusal
        if found.trashed or found.media_type != FOLDER:
            what = "lies in the trash" if found.trashed else "is no folder"
            raise SourceUnavailable(f"what {_FIELD} names {what}; name another, or bring it back")
        self._root = found

    async def _everything(self) -> Listing:
        drive, root = self._opened(), self._root
        token = await self._answer(drive.start(root.drive_id))  # first: what happens meanwhile is a change
        tree = Tree(drive, root, Folders())
        tree.folders.note(root.id, parent="", name=_readers(root), restricted=False)
        return Listing(tree.walk(root, Place("", restricted=False)), cursor=partial(_text, token, tree.folders))

    # --------------------------------------------------------------------------------------- changes

    async def _changes_since(self, cursor: str) -> Listing | None:
        root, before = self._root, _Cursor.read(cursor)
        if before is None:
            return None
        drive, folders = self._opened(), Folders.read(before.folders)
        found = await self._answer_since(_pages(drive, before.token, root.drive_id))
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
                verdict = await _folder_changed(tree, change.file)
                if verdict is None:
                    return None
                moved += verdict
            elif change.file is None and not folders.known:
                return None  # nobody knows whether it was a folder
            else:
                items += await _file_changed(tree, file_id, change.file)
        return Listing(_changes(tree, items, moved), cursor=partial(_text, token, folders))


async def _pages(drive: Drive, token: str, drive_id: str) -> tuple[dict[str, Change], str] | None:
    """The last change of each file, with the token that comes after; None where there are too many. May be refused."""
    changes: dict[str, Change] = {}
    for _ in range(MAX_CHANGE_PAGES):
        page = await drive.changes(token, drive_id)
        for change in page.changes:
            if change.kind == "file" and change.file_id:
                changes[change.file_id] = change.model_copy(update={"file": _there(change)})
        if page.start:
            return changes, page.start
        if not page.following or page.following == token or len(changes) > MAX_CHANGES:
            break
        token = page.following
    return None


async def _folder_changed(tree: Tree, folder: File | None) -> tuple[File, ...] | None:
    """The folder where all below it is to be listed, nothing where nothing is, None where everything is."""
    before = folder is not None and folder.id in tree.folders
    if folder is None or not tree.folders.known:
        return None
    place = await tree.place(folder.parents[0]) if folder.parents else None
    if place is None:
        return None if before else ()  # what lay in it is gone, and nobody tells what that was
    return () if before and tree.unchanged(folder, place, folder.parents[0]) else (folder,)


async def _file_changed(tree: Tree, file_id: str, file: File | None) -> Sequence[Item]:
    place = await tree.place(file.parents[0]) if file is not None and file.parents else None
    if file is None or place is None:
        return [Gone(each) for each in drive_tree.uris(file_id)]
    return [tree.listed(file, place)]


async def _changes(tree: Tree, items: Sequence[Item], moved: Sequence[File]) -> AsyncIterator[Item]:
    for item in items:
        yield item
    for folder in moved:
        place = await tree.place(folder.parents[0])
        assert place is not None
        async for listed in tree.walk(folder, tree.note(folder, place, folder.parents[0])):
            yield listed


def _there(change: Change) -> File | None:
    """The file of a change; None where it is gone."""
    return None if change.removed or change.file is None or change.file.trashed else change.file


def _readers(root: File) -> str:
    """What stands for the readers of the root: when they change, so may what is restricted below it."""
    return " ".join(sorted(root.readers))


def _text(token: str, folders: Folders) -> str:
    return _Cursor(token=token, folders=folders.text()).text()
