"""Opens ZIP archives (Office documents, EPUB) within bounds: nothing is unpacked before its size is known to be fit.

Bombs are told by what the directory declares and by what comes out: an entry never gives more than it declares,
and the sum of what was read is counted.
"""

from __future__ import annotations

import io
import posixpath
import struct
import zipfile
import zlib
from typing import IO

from lectern_runtime.embed.parsers import xml_tree
from lectern_runtime.embed.parsers.faults import corrupt, encrypted, fault

MAX_ENTRIES = 20_000
MAX_ENTRY_BYTES = 256 << 20
MAX_TREE_BYTES = 48 << 20
"""XML that becomes a tree; larger parts are read as a stream, or refused."""
MAX_TOTAL_BYTES = 512 << 20
MAX_RATIO = 200
RATIO_COUNTS_FROM = 8 << 20
"""Small entries may be as repetitive as they like."""
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, struct.error)


class Archive:
    """A ZIP archive in memory. `what` names it in errors. Raises `DocumentError` Encrypted, Corrupt or TooLarge."""

    def __init__(self, data: bytes, what: str) -> None:
        self.what = what
        self._left = min(MAX_TOTAL_BYTES, (64 << 20) + MAX_RATIO * len(data))
        if data.startswith(OLE_MAGIC):
            if "EncryptedPackage".encode("utf-16-le") in data:
                raise encrypted(what)
            raise fault("NotWhatItSays", f"{what} is an Office document of the old kind; save it in today's format")
        if not data.startswith(b"PK"):
            raise fault("NotWhatItSays", f"{what} is no ZIP archive as its type says; name it as what it is")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGE as error:
            raise corrupt(what, "its directory cannot be read") from error
        entries = self._zip.infolist()
        if len(entries) > MAX_ENTRIES:
            raise fault("TooLarge", f"{what} holds {len(entries)} files, the limit is {MAX_ENTRIES}")
        self._entries = {entry.filename.replace("\\", "/"): entry for entry in entries}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    @property
    def names(self) -> list[str]:
        """The names of its files, in the order of its directory."""
        return list(self._entries)

    def read(self, name: str, limit: int = MAX_ENTRY_BYTES) -> bytes:
        """The content of one file. Raises `DocumentError`, also when there is none of that name."""
        with self.open(name, limit) as stream:
            try:
                return stream.read()
            except _DAMAGE as error:
                raise corrupt(self.what, "a file in it cannot be unpacked") from error

    def open(self, name: str, limit: int = MAX_ENTRY_BYTES) -> IO[bytes]:
        """A stream of one file, whose size was counted already."""
        entry = self._entries.get(name)
        if entry is None:
            raise corrupt(self.what, "a part that it needs is not in it")
        self._admit(entry, limit)
        try:
            return self._zip.open(entry)
        except RuntimeError as error:
            raise encrypted(self.what) from error
        except _DAMAGE as error:
            raise corrupt(self.what, "a file in it cannot be unpacked") from error

    def xml(self, name: str) -> xml_tree.Element:
        """The root of an XML file."""
        return xml_tree.read(self.read(name, MAX_TREE_BYTES), self.what)

    def optional_xml(self, name: str | None) -> xml_tree.Element | None:
        """The root of an XML file, or None where there is no such file or it is empty."""
        if name is None or name not in self._entries or not self._entries[name].file_size:
            return None
        return self.xml(name)

    def _admit(self, entry: zipfile.ZipInfo, limit: int) -> None:
        size = entry.file_size
        if entry.flag_bits & 1:
            raise encrypted(self.what)
        if size > limit:
            raise fault("TooLarge", f"a file in {self.what} unpacks to {size} bytes, the limit is {limit}")
        if size > RATIO_COUNTS_FROM and size > MAX_RATIO * max(entry.compress_size, 1):
            raise fault("ZipBomb", f"a file in {self.what} unpacks to more than {MAX_RATIO} times its size")
        self._left -= size
        if self._left < 0:
            raise fault("ZipBomb", f"{self.what} unpacks to far more than an honest file of its size")


def beside(part: str, target: str) -> str:
    """The name that `target` has in the archive when `part` refers to it."""
    if target.startswith("/"):
        return posixpath.normpath(target).lstrip("/")
    return posixpath.normpath(posixpath.join(posixpath.dirname(part), target))
