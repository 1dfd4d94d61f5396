"""Lists and reads the files of a directory, as a mounted PersistentVolumeClaim or a laptop's folder has them.

Used by `run.py` through the registry. A document's uri is its path below the source's directory, byte for
byte (not normalised: two names that only look alike are two files), with `/` between the parts.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path

from lectern_contract.errors import DocumentError
from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import DirectorySource
from lectern_runtime.ingest.connector import (
    Fetched,
    Item,
    Known,
    Listed,
    Listing,
    Means,
    SourceEmpty,
    SourceUnavailable,
    Unlisted,
)
from lectern_runtime.ingest.unread import too_large, unread

RACY_SECONDS = 2.0
"""A file that changed less than this long ago can change again without a new time stamp."""
_BATCH = 256
_READ_ATTEMPTS = 3
_IGNORED_AT_ROOT = frozenset({"lost+found"})


def open_connector(settings: ConnectorSettings, means: Means) -> PersistentVolume:
    """The connector for the directory that `settings.source` names."""
    assert isinstance(settings.source, DirectorySource)
    root = Path(settings.source.root, settings.source.path)
    return PersistentVolume(root, max_bytes=settings.max_document_bytes, clock=means.clock)


class PersistentVolume:
    """The files below `root`, in the order of their paths.

    Names that begin with a dot are not documents (`.git`, `..data` of a mounted ConfigMap). A link to a file
    is read when its target lies below `root`; a link to a folder is not followed, so that no walk can loop
    and nothing outside is ever read: what a folder inside holds is listed under its own name.
    """

    def __init__(self, root: Path, *, max_bytes: int, clock: Callable[[], float]) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._clock = clock

    async def list(self, known: Known) -> Listing:
        """Every file below the root. Raises `SourceUnavailable` or, for a root without any entry, `SourceEmpty`."""
        del known  # a directory cannot say what changed
        return Listing(self._items())

    async def _items(self) -> AsyncIterator[Item]:
        try:
            real = await asyncio.to_thread(os.path.realpath, self._root, strict=True)
            walk = _walk(real, now=self._clock())
            while batch := await asyncio.to_thread(_take, walk, _BATCH):
                for item in batch:
                    yield item
        except OSError as error:
            raise SourceUnavailable(
                f"the directory {self._root} cannot be listed: {error.strerror}; mount the volume there, or correct "
                "spec.persistentVolume.path"
            ) from error

    async def fetch(self, listed: Listed) -> Fetched:
        """The bytes of the file. Raises `DocumentError`, for instance Vanished, TooLarge or ChangedWhileRead."""
        return Fetched(await asyncio.to_thread(self._read, listed.uri))

    async def close(self) -> None:
        """Nothing is held between calls."""

    def _read(self, uri: str) -> bytes:
        try:
            real_root = os.path.realpath(self._root, strict=True)
            target = _target_below(real_root, os.path.join(real_root, uri))  # noqa: PTH118 names may hold any byte
            for _ in range(_READ_ATTEMPTS):
                data = _read_if_still(target, self._max_bytes)
                if data is not None:
                    return data
        except FileNotFoundError as error:
            raise unread("Vanished", "it was removed after it was listed") from error
        except OSError as error:
            raise unread("Unreadable", f"it cannot be read: {error.strerror}; check its owner and mode") from error
        raise unread("ChangedWhileRead", f"it changed during each of {_READ_ATTEMPTS} reads; the next run tries again")


def _walk(root: str, *, now: float) -> Iterator[Listed | Unlisted]:
    """Depth first in sorted order, with a stack of its own because names may nest deeper than calls can."""
    top = _entries(root)
    if all(entry.name in _IGNORED_AT_ROOT for entry in top):
        raise SourceEmpty(
            f"the directory {root} is empty, as that of a volume which is not mounted; if it was emptied on purpose, "
            "put any file there (for instance .keep) and run again"
        )
    stack = [iter(top)]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        at_root = len(stack) == 1
        if entry.name.startswith(".") or (at_root and entry.name in _IGNORED_AT_ROOT):
            continue
        path = entry.path[len(root) :].lstrip("/")
        if not _is_unicode(path):
            yield Unlisted(path.encode("utf-8", "backslashreplace").decode(), "NameNotUnicode", "rename it to UTF-8")
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                stack.append(iter(_entries(entry.path)))
            else:
                found = _file(root, entry, path, now)
                if found is not None:
                    yield found
        except OSError as error:
            yield Unlisted(path, "Unlistable", f"{error.strerror}; check its owner and mode")


def _entries(directory: str) -> list[os.DirEntry[str]]:
    # A folder sorts as its name followed by a slash, so that the whole walk is in the order of paths.
    with os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name + ("/" if entry.is_dir(follow_symlinks=False) else ""))


def _file(root: str, entry: os.DirEntry[str], path: str, now: float) -> Listed | Unlisted | None:
    if not entry.is_symlink():
        facts = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(facts.st_mode):
            return Unlisted(path, "NotAFile", "it is a socket, a pipe or a device")
        return _listed(path, facts, now)
    try:
        facts = os.stat(_target_below(root, entry.path), follow_symlinks=False)  # noqa: PTH116 names may hold any byte
    except DocumentError as error:
        return Unlisted(path, error.reason, str(error))
    except OSError as error:
        return Unlisted(path, "BrokenLink", f"the link leads nowhere: {error.strerror}")
    if stat.S_ISDIR(facts.st_mode):
        return None  # listed under its own name
    return _listed(path, facts, now) if stat.S_ISREG(facts.st_mode) else Unlisted(path, "NotAFile", "not a file")


def _listed(path: str, facts: os.stat_result, now: float) -> Listed:
    # The change time catches tools that set the modification time back. Inside RACY_SECONDS neither can be trusted.
    racy = now - max(facts.st_mtime, facts.st_ctime) < RACY_SECONDS
    etag = "" if racy else f"{facts.st_size:x}-{facts.st_mtime_ns:x}-{facts.st_ctime_ns:x}-{facts.st_ino:x}"
    return Listed(uri=path, path=path, etag=etag, size=facts.st_size)


def _target_below(root: str, path: str) -> str:
    """The real path of `path`. Raises `DocumentError` when it leaves `root`, OSError when it is absent."""
    real = os.path.realpath(path, strict=True)
    if os.path.commonpath((root, real)) != root:
        raise unread("OutsideSource", "the link leads out of the source's directory, where nothing is read")
    return real


def _opened_path(descriptor: int) -> str | None:
    """The path that the kernel followed to the open file, or None where the system does not tell."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 names of files are texts here, undecodable ones too
    except OSError:
        return None


def _read_if_still(path: str, max_bytes: int) -> bytes | None:
    """The file's bytes, or None when it changed meanwhile. A swapped link or a pipe cannot mislead or block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:  # noqa: PTH123 a descriptor has no path
        if _opened_path(descriptor) not in (None, path):
            return None  # a folder above it became a link after its real path was found
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise OSError(errno.EINVAL, "not a file")
        data = stream.read(max_bytes + 1)
        after = os.fstat(descriptor)
    if len(data) > max_bytes:
        raise too_large(max_bytes)
    same = (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )
    return data if same and len(data) == after.st_size else None


def _take(walk: Iterator[Listed | Unlisted], count: int) -> list[Listed | Unlisted]:
    return list(islice(walk, count))


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
