"""Reads the benchmarks' test data: questions over Wikipedia paragraphs, and the pages of a documentation.

The data lies beside the repository in `../shared/data` (or where LECTERN_BENCH_DATA says). Where it is missing,
`DataMissing` says so and the goals that need it count as not met: nothing is passed over in silence.
"""

from __future__ import annotations

import csv
import hashlib
import json
import lzma
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

VARIABLE = "LECTERN_BENCH_DATA"
BESIDE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"


class DataMissing(Exception):
    """A file of the test data is not there."""


@dataclass(frozen=True)
class Paragraph:
    """One passage of the corpus; the article is the part of its id before `#`."""

    id: str
    title: str
    text: str

    @property
    def article(self) -> str:
        """Name of the article that the paragraph is from."""
        return self.id.partition("#")[0]


@dataclass(frozen=True)
class RetrievalSet:
    """Passages, questions by id, and for each question the relevance of the passages that answer it."""

    paragraphs: tuple[Paragraph, ...]
    questions: Mapping[str, str]
    judgements: Mapping[str, Mapping[str, int]]


def directory(environ: Mapping[str, str]) -> Path:
    """Return where the test data lies; raise DataMissing with the next step when it is not there."""
    path = Path(environ[VARIABLE]) if environ.get(VARIABLE) else BESIDE_REPOSITORY
    if not path.is_dir():
        raise DataMissing(
            f"the test data is not at {VARIABLE}={path}: name the directory that holds retrieval/ and docs-history/"
            if environ.get(VARIABLE)
            else f"the test data is not beside the repository (../shared/data): set {VARIABLE} to its directory"
        )
    return path


def read_wiki(root: Path) -> RetrievalSet:
    """Return the set wiki-a, whole, in the order of its files."""
    folder = root / "retrieval" / "wiki-a"
    corpus = lzma.decompress(_bytes(folder / "corpus.jsonl.xz")).decode().splitlines()
    questions = [json.loads(line) for line in _bytes(folder / "queries.jsonl").decode().splitlines()]
    judgements: dict[str, dict[str, int]] = {}
    rows = csv.DictReader(_bytes(folder / "qrels.tsv").decode().splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in rows:
        judgements.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["relevance"])
    return RetrievalSet(
        tuple(Paragraph(**json.loads(line)) for line in corpus),
        {question["id"]: question["text"] for question in questions},
        judgements,
    )


def sample(whole: RetrievalSet, *, paragraphs: int, questions: int, seed: int) -> RetrievalSet:
    """Return a seeded part: some questions, what answers them, and other paragraphs up to the number; order is kept."""
    chance = random.Random(seed)
    chosen = sorted(chance.sample(sorted(whole.questions), min(questions, len(whole.questions))))
    judgements = {question: whole.judgements[question] for question in chosen}
    gold = {passage for judged in judgements.values() for passage in judged}
    others = [each.id for each in whole.paragraphs if each.id not in gold]
    kept = gold | set(chance.sample(others, min(max(0, paragraphs - len(gold)), len(others))))
    return RetrievalSet(
        tuple(each for each in whole.paragraphs if each.id in kept),
        {question: whole.questions[question] for question in chosen},
        judgements,
    )


def unpack_pages(root: Path, target: Path, *, pages: int, seed: int) -> list[Path]:
    """Write a seeded choice of Markdown pages of the documentation below `target`; return the files, in order."""
    archive = root / "docs-history" / "2.13.tar.xz"
    _bytes(archive)
    with tarfile.open(archive, "r:xz") as content:
        names = sorted(member.name for member in content if member.isfile() and member.name.endswith(".md"))
        chosen = set(random.Random(seed).sample(names, min(pages, len(names))))
        written = []
        content_members = [member for member in content.getmembers() if member.name in chosen]
        for member in content_members:
            path = target / _harmless(member.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = content.extractfile(member)
            assert stream is not None
            path.write_bytes(stream.read())
            written.append(path)
    return sorted(written)


def digest(texts: Sequence[str]) -> str:
    """Return the hex sha256 of a list of texts; other texts or another order give another digest."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()


def _harmless(name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataMissing(f"the archive of pages names a file outside of it: {name!r}; fetch the test data again")
    return Path(*path.parts)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataMissing(f"{path} is not there: the test data is incomplete; fetch it again") from error
