"""Finds the documents below one folder of Google Drive: all of them, or where one file lies.

Used by the googleDrive connector. A document's path is the names of its folders joined by slashes. It is restricted
where it, or a folder on the way to it, does not inherit its readers, or where its readers lack one of the root's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from lectern_runtime.ingest.cloud.drive_api import FOLDER, Drive, File
from lectern_runtime.ingest.cloud.folders import Folders, Place
from lectern_runtime.ingest.cloud.rest import Refusal
from lectern_runtime.ingest.connector import Listed, SourceUnavailable

MAX_DEPTH = 200
MAX_OPEN = 1_000_000
"""Folders that wait to be listed."""
_OFFICE = "application/vnd.openxmlformats-officedocument"
EXPORTS = {
    "application/vnd.google-apps.document": ("document", f"{_OFFICE}.wordprocessingml.document", ".docx"),
    "application/vnd.google-apps.spreadsheet": ("spreadsheets", f"{_OFFICE}.spreadsheetml.sheet", ".xlsx"),
    "application/vnd.google-apps.presentation": ("presentation", f"{_OFFICE}.presentationml.presentation", ".pptx"),
}
"""Google's own formats: how their addresses begin, what they are exported as, and the suffix of that."""
_FILES = "https://drive.google.com/file/d/"
_GOOGLE = "application/vnd.google-apps."
_UNTOLD = "application/octet-stream"


@dataclass(slots=True)
class Tree:
    """What lies below `root`; what was asked of a folder is remembered for the length of one listing."""

    drive: Drive
    root: File
    folders: Folders
    _places: dict[str, Place | None] = field(default_factory=dict)

    async def walk(self, folder: File, place: Place) -> AsyncIterator[Listed]:
        """Every document below a folder. Raises `SourceUnavailable` where one of its folders cannot be listed."""
        waiting = [(folder, place)]
        seen = {folder.id}
        while waiting:
            inside, here = waiting.pop()
            try:
                async for child in self.drive.children(inside):
                    if child.media_type != FOLDER:
                        yield self.listed(child, here)
                    elif child.id not in seen:
                        seen.add(child.id)
                        waiting.append((child, self.note(child, here, inside.id)))
            except Refusal as refusal:
                raise SourceUnavailable(
                    f"a folder below spec.googleDrive.folderId cannot be listed ({refusal}); the next run asks again"
                ) from refusal
            if len(waiting) > MAX_OPEN:
                raise SourceUnavailable(
                    f"the folder has more than {MAX_OPEN} folders side by side; read its parts by sources of their own"
                )

    def note(self, folder: File, parent: Place, parent_id: str) -> Place:
        """Remember a folder as it is now, and return it as a place."""
        place = Place(parent.below(folder.name), self._restricted(folder, parent))
        self.folders.note(folder.id, parent=parent_id, name=folder.name, restricted=place.restricted)
        self._places[folder.id] = place
        return place

    def unchanged(self, folder: File, parent: Place, parent_id: str) -> bool:
        """Whether a folder lies where it lay, under the same name and with the same readers."""
        restricted = self._restricted(folder, parent)
        return self.folders.same(folder.id, parent=parent_id, name=folder.name, restricted=restricted)

    async def place(self, folder_id: str) -> Place | None:
        """Where a folder lies; None for one that does not lie below the root, or that nobody lets us see."""
        way: list[File] = []
        while folder_id != self.root.id and folder_id not in self._places:
            folder = await self._folder(folder_id) if len(way) < MAX_DEPTH else None
            if folder is None or not folder.parents:
                for each in way:
                    self._places[each.id] = None
                return None
            way.append(folder)
            folder_id = folder.parents[0]
        place = Place("", restricted=False) if folder_id == self.root.id else self._places[folder_id]
        for folder in reversed(way):
            if place is not None:
                place = Place(place.below(folder.name), self._restricted(folder, place))
            self._places[folder.id] = place
        return place

    async def _folder(self, folder_id: str) -> File | None:
        try:
            found = await self.drive.file(folder_id)
        except Refusal as refusal:
            if refusal.status in (403, 404):
                return None
            raise SourceUnavailable(f"Google Drive does not tell of a folder ({refusal}); ask again") from refusal
        return None if found.trashed or found.media_type != FOLDER else found

    def listed(self, file: File, folder: Place) -> Listed:
        """A file as a document of the run."""
        exported = EXPORTS.get(file.media_type)
        path, media_type = folder.below(file.name), file.media_type
        if exported is not None:
            _, media_type, suffix = exported
            path += "" if path.endswith(suffix) else suffix
        return Listed(
            uri=uri(file),
            path=path,
            # Bytes have a digest; what is exported has a version, which rises with every change of anything.
            etag=file.md5 or (f"v{file.version}" if file.version else ""),
            size=file.size if exported is None else None,
            restricted=self._restricted(file, folder),
            media_type="" if media_type == _UNTOLD or media_type.startswith(_GOOGLE) else media_type,
        )

    def _restricted(self, file: File, parent: Place) -> bool:
        lacking = bool(file.readers) and not self.root.readers <= file.readers
        return parent.restricted or file.closed or lacking


def uri(file: File) -> str:
    """The address under which people open the file; it is the same under every name and in every folder."""
    exported = EXPORTS.get(file.media_type)
    return f"https://docs.google.com/{exported[0]}/d/{file.id}" if exported is not None else _FILES + file.id


def uris(file_id: str) -> list[str]:
    """Every address that a file of this id can have, whatever it was."""
    return [_FILES + file_id, *(f"https://docs.google.com/{kind}/d/{file_id}" for kind, _, _ in EXPORTS.values())]


def from_uri(text: str) -> tuple[str, str]:
    """The id in an address of `uri`, and the media type to export; empty where the file has bytes of its own."""
    for kind, media_type, _ in EXPORTS.values():
        if text.startswith(f"https://docs.google.com/{kind}/d/"):
            return text.rpartition("/")[2], media_type
    return text.removeprefix(_FILES), ""
