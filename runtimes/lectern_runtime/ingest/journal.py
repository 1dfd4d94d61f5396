"""What a run is about to say, noted before it says it, and what it has said: small objects that are only ever added.

A run that dies leaves them in the blob store, and the next one begins by reading them: what may have been said is an
entry that no bytes match, so that it is said again or taken back; what was said for certain is not read again. They
are removed once the index of the manifest holds it all. Written by `handover.py`, read by `known.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lectern_contract import names
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest import manifest
from lectern_runtime.ingest.failpoints import Failpoint
from lectern_runtime.ingest.manifest import Entry, Index
from lectern_runtime.ingest.scratch import Row
from lectern_runtime.ports import BlobStore

MOST_SETTLED = 1024
"""Documents that were said and are noted only with the next that are about to be; beyond it they are noted alone."""
_READ_AT_ONCE = 8
_NUMBERED = re.compile(r"(\d{10})-(\d{10})")


class _Page(BaseModel):
    """One object of the journal. `settled` is what was said before it was written; None means taken back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    knowledge_base: str
    topic_id: str
    messages: str
    settled: tuple[tuple[str, Entry | None], ...] = ()
    intended: tuple[tuple[str, Entry], ...] = ()


class Journal:
    """The journal of one run, whose number and settings are those of `header`."""

    def __init__(self, blobs: BlobStore, settings: ConnectorSettings, header: Index, failpoint: Failpoint) -> None:
        self._blobs = blobs
        self._prefix = f"{names.run_journal(settings.namespace, settings.name)}{header.run:010}-"
        self._header = header
        self._failpoint = failpoint
        self._settled: list[tuple[str, Entry | None]] = []
        self._pages = 0

    @property
    def written(self) -> list[str]:
        """Names of the objects that this run wrote, in order."""
        return [f"{self._prefix}{number:010}" for number in range(self._pages)]

    async def intend(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """Note that something is about to be said of these documents in the partitions of these entries."""
        if entries:
            await self._write(tuple((uri, entry.uncertain()) for uri, entry in entries))

    async def settle(self, entries: Sequence[tuple[str, Entry | None]]) -> None:
        """Note what was said, with whatever is noted next."""
        self._settled += entries
        if len(self._settled) >= MOST_SETTLED:
            await self.flush()

    async def flush(self) -> None:
        """Note now what was said, so that the next run does not read it again."""
        if self._settled:
            await self._write(())

    async def _write(self, intended: tuple[tuple[str, Entry], ...]) -> None:
        self._failpoint("intend")
        page = _Page(
            knowledge_base=self._header.knowledge_base,
            topic_id=self._header.topic_id,
            messages=self._header.messages,
            settled=tuple(self._settled),
            intended=intended,
        )
        name = f"{self._prefix}{self._pages:010}"
        await self._blobs.write_named(name, page.model_dump_json(exclude_defaults=True).encode())
        self._pages += 1
        self._settled.clear()


async def leftovers(blobs: BlobStore, settings: ConnectorSettings) -> list[tuple[int, str]]:
    """The objects that earlier runs left, in the order of their writing, with the numbers of their runs."""
    prefix = names.run_journal(settings.namespace, settings.name)
    found = []
    async for name in blobs.list_named(prefix):
        numbered = _NUMBERED.fullmatch(name.removeprefix(prefix))
        if numbered is not None:
            found.append((int(numbered[1]), name))
    return sorted(found)


async def replay(blobs: BlobStore, written: Sequence[str], header: Index) -> AsyncIterator[list[Row]]:
    """What the objects say, in order. What was said under other settings than those of `header` counts as not said.

    Raises `ManifestDamaged`.
    """
    for start in range(0, len(written), _READ_AT_ONCE):
        group = written[start : start + _READ_AT_ONCE]
        for name, data in zip(group, await asyncio.gather(*map(blobs.read_named, group)), strict=True):
            if data is not None:
                yield _rows(name, data, header)


async def forget(blobs: BlobStore, written: Sequence[str]) -> None:
    """Remove objects, the oldest first: what is left of a journal then still says nothing that is wrong."""
    for start in range(0, len(written), _READ_AT_ONCE):
        await asyncio.gather(*map(blobs.delete_named, written[start : start + _READ_AT_ONCE]))


def _rows(name: str, data: bytes, header: Index) -> list[Row]:
    try:
        page = _Page.model_validate_json(data)
    except ValidationError as error:
        raise manifest.damaged(name, "damaged") from error
    if page.knowledge_base != header.knowledge_base:
        return []
    said = (page.topic_id, page.messages) == (header.topic_id, header.messages)
    settled = [Row(uri, manifest.text(entry), said) for uri, entry in page.settled]
    return settled + [Row(uri, entry.text(), False) for uri, entry in page.intended]
