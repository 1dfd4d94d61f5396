"""A git source for tests: a repository behind the HTTPS server of `git_server`, and connectors on it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import GitSource
from lectern_runtime.ingest.connector import Means
from lectern_runtime.ingest.connectors.git import GitConnector
from lectern_runtime.ingest.retries import Retries
from lectern_runtime_tests.ingest.git_server import PASSWORD, USERNAME, GitServer, Repository, serving
from lectern_runtime_tests.ingest.guarded_world import certificate
from lectern_runtime_tests.pipeline import connector_settings

EXEMPT = {
    "test_a_document_that_vanished_fails_alone": (
        "a commit is a whole that nobody can change: what it had is read as it was, until the next listing"
    )
}


async def at_once(_seconds: float) -> None:
    """No time between attempts."""


@dataclass
class GitWorld:
    """The `SourceUnderTest` of git: every put and every removal is a commit."""

    repository: Repository
    server: GitServer
    source: GitSource
    max_bytes: int = 100_000

    etags = True
    deltas = True
    can_be_empty = True
    odd_names = ("with space.md", "50% #1?&=+.md", "äß€/文書.md", "e\u0301.md", "quote'\".md", "new\nline.md")
    exempt: Mapping[str, str] = field(default_factory=lambda: EXEMPT)

    async def put(self, path: str, data: bytes) -> None:
        await asyncio.to_thread(self.repository.write, {path: data})

    async def remove(self, path: str) -> None:
        await asyncio.to_thread(self.repository.write, {path: None})

    async def break_down(self) -> None:
        self.server.failures[:] = [503] * 100

    def requests(self) -> int:
        return self.server.exchanges

    def settings(self, **changes: Any) -> ConnectorSettings:
        return connector_settings(
            Path("/unused"), **{"source": self.source, "max_document_bytes": self.max_bytes, **changes}
        )

    def open(self, means: Means, **changes: Any) -> GitConnector:
        return GitConnector(self.settings(), means, **{"retries": Retries(sleep=at_once), **changes})

    def clock(self) -> float:
        return time.time()

    def with_source(self, **changes: Any) -> GitWorld:
        """The same repository, by other settings."""
        return dataclasses.replace(self, source=self.source.model_copy(update=changes))


@contextmanager
def git_world(folder: Path, *, passwords: bool = False) -> Iterator[GitWorld]:
    """A repository with one empty commit, served by TLS, and by password where asked."""
    repository = Repository.create(folder / "served" / "repository")
    authority, context = certificate(folder, "localhost")
    secret = folder / "secret"
    secret.mkdir()
    (secret / "username").write_text(USERNAME)
    (secret / "password").write_text(PASSWORD + "\n")
    with serving(folder / "served", tls=context) as server:
        server.passwords = passwords
        yield GitWorld(repository, server, source(server, authority, secret if passwords else None))


def source(server: GitServer, authority: Path, secret: Path | None) -> GitSource:
    """The settings of the default branch, whole."""
    return GitSource(
        url=server.url(),
        ref="HEAD",
        path="",
        credentials_directory=str(secret) if secret is not None else None,
        ca_file=str(authority),
    )
