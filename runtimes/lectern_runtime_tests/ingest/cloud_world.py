"""A document cloud as the conformance suite fills, changes and breaks it: files in folders of a vendor's double."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from lectern_runtime.ingest.retries import Retries
from lectern_runtime.ingest.web.api_source import Asking
from lectern_runtime_tests.contracts.connector_contract import NO_EXEMPTION, ODD_NAMES


class Cloud(Protocol):
    """The double, as people use the cloud for which it stands."""

    broken: bool
    asked: list[str]

    def folder(self, name: str, parent: str, /) -> str:
        """A new folder; returns its id."""

    def file(self, name: str, data: bytes, parent: str, /) -> str:
        """A new file; returns its id."""

    def edit(self, item: str, data: bytes | None, /) -> None:
        """Change the bytes of a file."""

    def remove(self, item: str, /) -> None:
        """Remove a file."""


Server = TypeVar("Server", bound=Cloud)


@dataclass
class CloudWorld(Generic[Server]):
    """The part of a `SourceUnderTest` that is the same in every cloud.

    `folders` and `files` are ids by path, `slept` is how long connectors would have waited.
    """

    server: Server
    folders: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    slept: list[float] = field(default_factory=list)

    etags = True
    deltas = True
    can_be_empty = True
    odd_names = ODD_NAMES
    exempt = NO_EXEMPTION

    async def put(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        if path in self.files:
            self.server.edit(self.files[path], data)
        else:
            self.files[path] = self.server.file(name, data, self._folder(folder))

    def _folder(self, path: str) -> str:
        if path not in self.folders:
            parent, _, name = path.rpartition("/")
            self.folders[path] = self.server.folder(name, self._folder(parent))
        return self.folders[path]

    async def remove(self, path: str) -> None:
        self.server.remove(self.files.pop(path))

    async def break_down(self) -> None:
        self.server.broken = True

    def requests(self) -> int:
        return len(self.server.asked)

    def asking(self) -> Asking:
        """Retries that wait no time."""
        return Asking(retries=Retries(sleep=self._sleep))

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def clock(self) -> float:
        return time.time()
