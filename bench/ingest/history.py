"""A documentation that changes: ingest 2.11, apply its history to 2.13, ingest again, and compare with a fresh 2.13.

Also what a second pass over the unchanged 2.11 costs. Through the directory connector and, with the same bytes as
commits, through the git connector. The model is a STUB: counts and equality need none.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ingest import equality, indexing, pages
from bench.ingest.indexing import Index, Pass
from bench.ingestion import IngestionIncomplete
from bench.report import Aim, Goal
from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import GitSource
from lectern_runtime.ingest.connector import Connector, Means
from lectern_runtime.ingest.connectors.git import GitConnector

AGAIN_EMBEDDED = Aim("second-pass-embedded", "texts embedded by a pass over an unchanged source", "<=", 0, "texts")
AGAIN_WALL = Aim("second-pass", "second pass over an unchanged source, share of the first's time", "<=", 0.05)
AGAIN_CPU = Aim("second-pass-cpu", "second pass, share of the first's CPU time", "<=", 0.05)
EQUAL = Aim("history-equal", "points that differ from a fresh ingest of 2.13, after its history", "<=", 0, "points")
EMBEDDED = Aim("history-embedded", "texts embedded for the changes, share of those of a fresh ingest", "<=", 0.55)
GIT_EQUAL = Aim("history-git-equal", "the same by commits through the git connector", "<=", 0, "points")
GIT_EMBEDDED = Aim("history-git-embedded", "texts embedded for the commit, share of a fresh ingest", "<=", 0.55)
AIMS = (AGAIN_EMBEDDED, AGAIN_WALL, AGAIN_CPU, EQUAL, EMBEDDED, GIT_EQUAL, GIT_EMBEDDED)
GIT_SECONDS = 120
BRANCH = "main"


@dataclass(frozen=True, slots=True)
class History:
    """The passes over one source: the first, one without a change, one after the changes, and a fresh one."""

    first: Pass
    again: Pass
    changed: Pass
    fresh: Pass
    different: tuple[str, ...]

    @property
    def embedded(self) -> float:
        """Texts embedded for the changes, as a share of those of the fresh pass."""
        return self.changed.embedded / self.fresh.embedded

    def goals(self) -> list[Goal]:
        """Return the goals of the second pass and of the changes."""
        first, again = self.first, self.again
        corpus = f"{first.published} pages, {first.chunks} chunks; stub model"
        return [
            AGAIN_EMBEDDED.measured(again.embedded + again.published, n=first.published, reason=corpus),
            AGAIN_WALL.measured(
                again.wall / first.wall, n=first.published, reason=f"{again.wall:.2f} of {first.wall:.1f} s"
            ),
            AGAIN_CPU.measured(
                again.cpu / first.cpu, n=first.published, reason=f"{again.cpu:.2f} of {first.cpu:.1f} CPU s"
            ),
            *self.of_changes(EQUAL, EMBEDDED),
        ]

    def of_changes(self, equal: Aim, embedded: Aim) -> list[Goal]:
        """Return the goals of the changes alone."""
        changed, fresh = self.changed, self.fresh
        done = f"{changed.published} pages said, {changed.deleted} deleted"
        return [
            equal.measured(len(self.different), n=fresh.chunks, reason=equality.told(self.different) or done),
            embedded.measured(
                self.embedded, n=fresh.embedded, reason=f"{changed.embedded} of {fresh.embedded}; stub model"
            ),
        ]


def by_directory(root: Path, place: Path, *, most: int | None = None) -> History:
    """Return the history by files; `most` pages of each version where not all are wanted."""
    source, after = place / "source", place / "after"
    names = pages.unpack(root, pages.BEFORE, source, most=most)
    wanted = set(names) | set(pages.unpack(root, pages.AFTER, after, most=most))
    grown = indexing.index(place / "grown", source)
    first, again = grown.run(), grown.run()
    pages.apply(_within(pages.changes(root), wanted, source, after), source, after)
    if most is None and not pages.same_files(source, after):
        raise IngestionIncomplete("the changes of the test data do not lead from 2.11 to 2.13; fetch it again")
    return _compared(grown, indexing.index(place / "fresh", source), first, again)


def by_commits(root: Path, place: Path, *, most: int | None = None) -> History:
    """Return the history by two commits of a repository on this machine."""
    source, repository = place / "source", place / "repository"
    pages.unpack(root, pages.BEFORE, source, most=most)
    _git(place, "init", "--quiet", f"--initial-branch={BRANCH}", str(source))
    _commit(source, pages.BEFORE)
    _git(place, "clone", "--quiet", "--bare", str(source), str(repository))
    grown = _index(place / "grown", repository)
    first, again = grown.run(), grown.run()
    for each in source.iterdir():
        if each.name != ".git":
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    pages.unpack(root, pages.AFTER, source, most=most)
    _commit(source, pages.AFTER)
    _git(source, "push", "--quiet", str(repository), BRANCH)
    return _compared(grown, _index(place / "fresh", repository), first, again)


def _compared(grown: Index, fresh: Index, first: Pass, again: Pass) -> History:
    changed, anew = grown.run(), fresh.run()
    return History(first, again, changed, anew, tuple(equality.differences(grown.content(), fresh.content())))


def _within(found: Sequence[pages.Change], wanted: set[str], source: Path, after: Path) -> list[pages.Change]:
    """The changes of pages that were unpacked."""
    return [
        each
        for each in found
        if each.path in wanted
        and (each.status == "D" or (after / each.path).exists())
        and (each.status in "AM" or (source / (each.old_path if each.status == "R" else each.path)).exists())
    ]


def _index(directory: Path, repository: Path) -> Index:
    whole = indexing.index(directory, repository)
    source = GitSource(url=repository.as_uri(), ref=BRANCH, path="", credentials_directory=None, ca_file=None)
    return indexing.from_repository(whole, whole.connector.model_copy(update={"source": source}), _open_git)


def _open_git(settings: ConnectorSettings, means: Means) -> Connector:
    return GitConnector(settings, means, protocols="file")


def _commit(source: Path, message: str) -> None:
    _git(source, "add", "--all")
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false")
    _git(source, *who, "commit", "--quiet", "--message", message)


def _git(where: Path, *arguments: str) -> None:
    """Run git; raises IngestionIncomplete with what it said."""
    try:
        subprocess.run(["git", *arguments], cwd=where, check=True, capture_output=True, text=True, timeout=GIT_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise IngestionIncomplete(f"git {arguments[0]} failed: {said.strip()[-300:]}") from error
