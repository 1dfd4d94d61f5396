"""Fetches the folders of one commit, without files and without history, and lists its files.

Used by the git connector. A ref is looked up as HEAD, a branch, a tag, a full `refs/...` name or a whole commit id, in
this order.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from lectern_contract.errors import ConfigurationError
from lectern_runtime.ingest.connector import SourceUnavailable
from lectern_runtime.ingest.repository import faults
from lectern_runtime.ingest.repository.program import Ended, Git
from lectern_runtime.ingest.repository.remote import Remote

MAX_COMMIT_BYTES = 2 << 30
"""What one fetch may bring: the folders, or all files where the server knows no filter."""
LOCAL_SECONDS = 120.0
FILE, EXECUTABLE, LINK, MODULE = b"100644", b"100755", b"120000", b"160000"
FILES = frozenset({FILE, EXECUTABLE, b"100664"})
_OBJECT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_NO_REF = re.compile(r"^[-/]|[\0-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|[./]$|\.lock$")


class Moved(SourceUnavailable):
    """The remote no longer has what its ref named a moment ago."""


@dataclass(frozen=True, slots=True)
class InTree:
    """A file, link or submodule of a commit; `path` is in bytes, below the folder that was asked for."""

    mode: bytes
    blob: str
    path: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit whose folders are here; `has_files` says that the server sent all files with them."""

    git: Git
    object_id: str
    has_files: bool

    async def entries(self, path: str) -> AsyncIterator[InTree]:
        """All that lies below the folder `path`, in git's order. Raises `SourceUnavailable` where it is none."""
        tree = self.object_id
        if path:
            await self._folder(path)
            tree = f"{self.object_id}:{path}"
        async for record in self.git.records(("ls-tree", "-r", "-z", "--full-tree", tree), seconds=LOCAL_SECONDS):
            facts, _, name = record.partition(b"\t")
            mode, _, blob = facts.split(b" ")
            yield InTree(mode, blob.decode("ascii"), name)

    async def blob(self, path: str) -> str:
        """The object id of the file at `path`, counted from the root; empty where there is no file."""
        mode, kind, blob = await self._look_up(path)
        return blob if kind == b"blob" and mode in FILES else ""

    async def _folder(self, path: str) -> None:
        _, kind, _ = await self._look_up(path)
        if kind != b"tree":
            why = "is a file and no folder" if kind == b"blob" else "is not there"
            raise SourceUnavailable(f"the folder {path!r} {why} in this commit; correct spec.git.path or spec.git.ref")

    async def _look_up(self, path: str) -> tuple[bytes, bytes, str]:
        # Not by `cat-file`, which would fetch a file to tell that it is one.
        ended = await self.git.run(("ls-tree", "-z", "--full-tree", self.object_id, "--", path), seconds=LOCAL_SECONDS)
        facts = ended.output.partition(b"\t")[0].split(b" ")
        return (facts[0], facts[1], facts[2].decode("ascii")) if len(facts) == 3 else (b"", b"", "")


async def tip(remote: Remote, git: Git) -> str:
    """The object that the source's ref names now. Raises `SourceUnavailable` where there is no such ref."""
    ref = remote.source.ref
    if _NO_REF.search(ref):
        raise ConfigurationError(f"spec.git.ref {ref!r} is no name of a branch, tag or commit; correct it")
    if _OBJECT.fullmatch(ref):
        return ref
    names = ["HEAD"] if ref == "HEAD" else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    if ref.startswith("refs/"):
        names.append(ref)
    ended = await remote.ask(git, ("ls-remote", "--quiet", "origin", *names), what="the remote's refs")
    told = (line.partition("\t") for line in ended.output.decode("utf-8", "replace").split("\n"))
    found = {name: object_id for object_id, _, name in told}
    for name in names:
        if _OBJECT.fullmatch(found.get(name, "")):
            return found[name]
    if ref == "HEAD":
        raise SourceUnavailable(
            "the repository has no default branch with a commit, as one that is new; push one, or set spec.git.ref"
        )
    raise SourceUnavailable(
        f"the repository has no branch or tag {ref!r}; correct spec.git.ref (a commit is named by its whole id)"
    )


async def fetch(remote: Remote, git: Git, object_id: str) -> Commit:
    """Bring the commit here. Raises `SourceUnavailable`, and `Moved` where it was replaced meanwhile."""

    def told_below(ended: Ended) -> bool:
        return faults.is_too_large(ended.errors) or faults.has_moved(ended.errors)

    ended = await remote.ask(
        git,
        (
            *("fetch", "--quiet", "--depth=1", "--filter=blob:none", "--no-tags", "--no-write-fetch-head"),
            *("origin", object_id),
        ),
        what="the commit",
        file_bytes=MAX_COMMIT_BYTES,
        expected=told_below,
    )
    if ended.status and faults.is_too_large(ended.errors):
        raise SourceUnavailable(
            f"the commit has more than {MAX_COMMIT_BYTES >> 20} MiB; let the server answer partial clones "
            "(uploadpack.allowFilter), or read a smaller repository"
        )
    if ended.status:
        if object_id == remote.source.ref:
            raise SourceUnavailable(
                f"the repository does not give the commit {object_id}; correct spec.git.ref, or name a branch or tag"
            )
        raise Moved("the ref was moved while it was read; the next run reads it as it is then")
    commit = await git.run(("rev-parse", "--verify", f"{object_id}^{{commit}}"), seconds=LOCAL_SECONDS)
    if commit.status:
        raise SourceUnavailable(f"spec.git.ref {remote.source.ref!r} names no commit; correct it")
    return Commit(git, object_id, has_files=faults.UNFILTERED in ended.errors)
