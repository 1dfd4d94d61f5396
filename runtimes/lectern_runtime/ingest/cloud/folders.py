"""Remembers the folders of a cloud between runs, in a few bytes each: which there were, where, and whether restricted.

Used by the googleDrive and sharePoint connectors. Listings of changes name folders that were only touched, do not name
what lies in a folder that was moved or renamed, and say of a removed one nothing but its id: this tells them apart.
The text goes into the cursor of a run.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

SLASH = "\u2215"
"""What stands for a slash in a name: a name must not look like a folder, since rights may depend on those."""
MAX_FOLDERS = 20_000
"""With more the text is empty, which says that nothing is known of folders."""
_ID_BYTES, _FACT_BYTES = 8, 6
_ROW = _ID_BYTES + _FACT_BYTES + 1


@dataclass(frozen=True, slots=True)
class Place:
    """A folder below the root: the path to it, empty for the root itself, and whether fewer people may read it."""

    path: str
    restricted: bool

    def below(self, name: str) -> str:
        """The path of what is called `name` in this folder."""
        name = name.replace("/", SLASH) or "(no name)"
        return f"{self.path}/{name}" if self.path else name


class Folders:
    """Folders by their id; of names, parents and ids only digests are kept."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._lost = False

    @classmethod
    def read(cls, text: str) -> Folders:
        """What `text` says; nothing is known where it is empty or no text of this class."""
        made = cls()
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        made._lost = not data or len(data) % _ROW != 0
        if not made._lost:
            rows = (data[start : start + _ROW] for start in range(0, len(data), _ROW))
            made._rows = {row[:_ID_BYTES]: row[_ID_BYTES:] for row in rows}
        return made

    @property
    def known(self) -> bool:
        """Whether a folder that is not here was none."""
        return not self._lost

    def note(self, folder: str, *, parent: str, name: str, restricted: bool) -> None:
        """Remember a folder as it is now."""
        if self._lost:
            return
        self._rows[_digest(folder, _ID_BYTES)] = _facts(parent, name, restricted)
        if len(self._rows) > MAX_FOLDERS:
            self._lost, self._rows = True, {}

    def __contains__(self, folder: str) -> bool:
        return _digest(folder, _ID_BYTES) in self._rows

    def same(self, folder: str, *, parent: str, name: str, restricted: bool) -> bool:
        """Whether a folder is as it was."""
        return self._rows.get(_digest(folder, _ID_BYTES)) == _facts(parent, name, restricted)

    def restricted(self, folder: str) -> bool:
        """Whether fewer people might read a folder; so it is where nothing is known of it."""
        return self._rows.get(_digest(folder, _ID_BYTES), b"\1")[-1:] != b"\0"

    def text(self) -> str:
        """The text for `read`, equal for equal folders."""
        return base64.b64encode(b"".join(key + row for key, row in sorted(self._rows.items()))).decode("ascii")


def _facts(parent: str, name: str, restricted: bool) -> bytes:
    return _digest(f"{len(parent)}:{parent}/{name}", _FACT_BYTES) + (b"\1" if restricted else b"\0")


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
