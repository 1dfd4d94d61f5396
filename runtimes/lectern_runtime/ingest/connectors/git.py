"""Lists and reads the files of a git repository at one branch, tag or commit, or of the folder that a source names.

Used by `run.py` through the registry. A document's uri is its path below `spec.git.path`, its etag the id of the file's
bytes (the blob), its cursor what the ref named: an unmoved ref is one request, a moved one brings the folders of the
new commit and then the files that changed. Bytes are those of the repository, without filters or line endings of a
checkout. Names that begin with a dot are no documents, as in a directory; links and submodules are not followed.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from itertools import count
from pathlib import Path

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import GitSource
from lectern_runtime.ingest import media_types
from lectern_runtime.ingest.connector import Fetched, Item, Known, Listed, Listing, Means, SourceEmpty, Unlisted
from lectern_runtime.ingest.globs import Selection
from lectern_runtime.ingest.repository import checkout
from lectern_runtime.ingest.repository.blobs import Blobs
from lectern_runtime.ingest.repository.checkout import FILES, LINK, Commit, InTree, Moved
from lectern_runtime.ingest.repository.program import Git
from lectern_runtime.ingest.repository.remote import COMMAND_SECONDS, Remote
from lectern_runtime.ingest.retries import Retries
from lectern_runtime.ingest.unread import unread

GROUP = 256
"""Files that are fetched in one exchange."""
_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_BYTES = 1024


def open_connector(settings: ConnectorSettings, means: Means) -> GitConnector:
    """The connector for the repository that `settings.source` names."""
    return GitConnector(settings, means)


class GitConnector:
    """The files of one source, in git's order. All keyword arguments are replaced in tests only."""

    def __init__(
        self,
        settings: ConnectorSettings,
        means: Means,
        *,
        retries: Retries | None = None,
        protocols: str = "https:ssh",
        ssh: str = "ssh",
        seconds: float = COMMAND_SECONDS,
    ) -> None:
        assert isinstance(settings.source, GitSource)
        self._source = settings.source
        self._settings = settings
        self._selection = Selection(settings.include, settings.exclude)
        self._means, self._retries = means, retries or Retries()
        self._protocols, self._ssh, self._seconds = protocols, ssh, seconds
        self._numbers = count()
        self._home: Path | None = None
        self._tip = ""
        self._git: Git | None = None
        self._opening = asyncio.Lock()
        self._opened: tuple[Commit, Blobs] | None = None

    async def list(self, known: Known) -> Listing:
        """Every file, or nothing where the ref stands where it stood. Raises `SourceUnavailable`."""
        remote = await self._remote()
        await self._leave_commit()
        self._tip = await checkout.tip(remote, await self._repository(remote))
        if self._tip == known.cursor:
            return Listing(_nothing(), whole=False, cursor=lambda: known.cursor)
        commit, blobs = await self._commit()
        return Listing(self._items(commit, blobs, known), cursor=lambda: commit.object_id)

    async def fetch(self, listed: Listed) -> Fetched:
        """The file's bytes. Raises `DocumentError`, for instance Vanished, TooLarge or InLfs."""
        commit, blobs = await self._commit()
        blob = listed.etag or await commit.blob("/".join(filter(None, (self._source.path, listed.uri))))
        if not blob:
            raise unread("Vanished", "it was removed after it was listed")
        data = await blobs.read(blob)
        if len(data) < _LFS_BYTES and data.startswith(_LFS):
            raise unread(
                "InLfs", "the repository holds a pointer only, its bytes lie in Git LFS, which is not read; exclude it"
            )
        return Fetched(data, etag=blob)

    async def close(self) -> None:
        """End all programs and remove what was fetched."""
        await self._leave_commit()
        home, self._home = self._home, None
        if home is not None:
            await asyncio.to_thread(shutil.rmtree, home)

    # --------------------------------------------------------------------------------------- listing

    async def _items(self, commit: Commit, blobs: Blobs, known: Known) -> AsyncIterator[Item]:
        empty = True
        batch: list[Item] = []
        async for entry in commit.entries(self._source.path):
            empty = False
            if (item := _item(entry)) is not None:
                batch.append(item)
            if len(batch) >= GROUP:
                await blobs.prefetch([blob async for blob in self._needed(batch, known)])
                for item in batch:
                    yield item
                batch = []
        if empty:
            raise SourceEmpty(
                f"the folder {self._source.path or '/'} of the repository has no file; if it was emptied on purpose, "
                "commit any file there (for instance .keep) and run again"
            )
        await blobs.prefetch([blob async for blob in self._needed(batch, known)])
        for item in batch:
            yield item

    async def _needed(self, items: Sequence[Item], known: Known) -> AsyncIterator[str]:
        """The blobs that the run will ask for: those of files which are asked for and are not as they were."""
        for item in items:
            if not isinstance(item, Listed) or not self._selection.admits(item.path):
                continue
            media_type = media_types.by_name(item.path)
            if media_type is not None and not media_types.accepted(media_type, self._settings.media_types):
                continue
            if await known.etag(item.uri) != item.etag:
                yield item.etag

    # -------------------------------------------------------------------------------- what is fetched

    async def _commit(self) -> tuple[Commit, Blobs]:
        """Return the commit of the tip, fetched once. A ref that is moved meanwhile is looked up again."""
        async with self._opening:
            if self._opened is None:
                remote = await self._remote()
                git = await self._repository(remote)
                if not self._tip:
                    self._tip = await checkout.tip(remote, git)
                try:
                    commit = await checkout.fetch(remote, git, self._tip)
                except Moved:
                    self._tip = await checkout.tip(remote, git)
                    commit = await checkout.fetch(remote, git, self._tip)
                whole = commit.git if commit.has_files else None
                limit = self._settings.max_document_bytes
                self._opened = commit, Blobs(remote, git.directory, max_bytes=limit, whole=whole)
            return self._opened

    async def _leave_commit(self) -> None:
        opened, self._opened, self._tip = self._opened, None, ""
        git, self._git = self._git, None
        if opened is not None:
            await opened[1].close()
        if git is not None:
            await asyncio.to_thread(shutil.rmtree, git.directory)

    async def _remote(self) -> Remote:
        if self._home is None:
            self._home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="lectern-git-"))
        return Remote(
            self._source, self._home, self._means.throttle, self._retries, self._protocols, self._ssh, self._seconds
        )

    async def _repository(self, remote: Remote) -> Git:
        """Return the repository of this listing: the ref is asked and the commit fetched in the same one."""
        if self._git is None:
            self._git = await remote.prepare(remote.home / f"commit-{next(self._numbers)}")
        return self._git


async def _nothing() -> AsyncIterator[Item]:
    none: tuple[Item, ...] = ()
    for item in none:
        yield item


def _item(entry: InTree) -> Item | None:
    """What a file of the commit is to a run; None for what is no document."""
    try:
        path = entry.path.decode()
    except UnicodeDecodeError:
        return Unlisted(entry.path.decode("utf-8", "backslashreplace"), "NameNotUnicode", "rename it to UTF-8")
    if any(part.startswith(".") for part in path.split("/")):
        return None
    if entry.mode in FILES:
        return Listed(uri=path, path=path, etag=entry.blob, size=None)
    kind = "link" if entry.mode == LINK else "submodule"
    return Unlisted(path, "NotAFile", f"it is a {kind}, which is not followed; exclude it")
