"""Resources and documents of the journeys: small, made here, and each with one fact that only it tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLAIN, PLAIN_PATH = 43, "notes.txt"
_TOPICS = (
    (
        "lighthouse",
        "The lighthouse of {name} was lit for the first time in {year}, and its lamp turns {n} times a minute.",
    ),
    ("bridge", "The bridge at {name} was finished in {year}; it carries {n} lanes over the river."),
    ("museum", "The museum of {name} opened in {year} and shows {n} paintings of the harbour."),
    ("railway", "The railway to {name} began to run in {year} with {n} steam engines."),
    ("garden", "The garden of {name} was laid out in {year} around {n} old oak trees."),
)
_ASKED = (
    "was the lighthouse of {} lit",
    "was the bridge at {} finished",
    "did the museum of {} open",
    "did the railway to {} begin to run",
    "was the garden of {} laid out",
)
_SYLLABLES = ("bar", "den", "fol", "gim", "hal", "jor", "kel", "lun", "mor", "nev", "pol", "ras", "sil", "tov", "wex")


def place(number: int) -> str:
    """A name that no other number has."""
    first, second = divmod(number, len(_SYLLABLES))
    return (
        f"{_SYLLABLES[second]}{_SYLLABLES[(first + second + 1) % len(_SYLLABLES)]}{_SYLLABLES[first % 15]}ton".title()
    )


def fact(number: int, *, edition: int = 0) -> str:
    """One sentence that only document `number` says; each edition says another year."""
    _, sentence = _TOPICS[number % len(_TOPICS)]
    return sentence.format(name=place(number), year=1700 + number + 100 * edition, n=3 + number % 40)


def question(number: int) -> str:
    """What `fact(number)` answers."""
    return f"When {_ASKED[number % len(_ASKED)].format(place(number))}?"


def document(number: int, *, edition: int = 0, paragraphs: int = 1) -> str:
    """A Markdown document around its fact."""
    topic = _TOPICS[number % len(_TOPICS)][0]
    rest = "\n\n".join(
        f"Visitors of {place(number)} find a path number {n} that leads past {n + number} houses to the {topic}. "
        "It is open all year, and a guide tells about the weather, the trade and the people of the coast."
        for n in range(1, paragraphs + 1)
    )
    return f"# {topic.title()} of {place(number)}\n\n{fact(number, edition=edition)}\n\n{rest}\n"


def plain_text() -> str:
    """A text of several chunks, with letters of more than one byte before its fact."""
    return f"Notes of the harbour – été\n\n{fact(PLAIN)}\n\n" + "Boats come and go all day. " * 60


def write_documents(directory: Path, count: int, *, paragraphs: int = 1) -> None:
    """Documents 0 to `count`, in folders of ten."""
    for number in range(count):
        path = directory / path_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document(number, paragraphs=paragraphs))


def path_of(number: int) -> str:
    """Where `write_documents` puts a document."""
    return f"{number // 10}/doc-{number:03}.md"


@dataclass(frozen=True)
class Laptop:
    """Resources, documents and state of one journey, all below one directory."""

    root: Path
    options: tuple[str, ...] = ()

    @property
    def documents(self) -> Path:
        """The directory that the claim `files` stands for."""
        return self.root / "documents"

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / "data"

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments of `lectern up` for this laptop."""
        files = ("-f", str(self.root / "resources"), "--mount", f"files={self.documents}")
        return (*files, "--data-dir", str(self.data), "--sync-seconds", "1", *self.options)

    def write(self, path: str, text: str | bytes) -> Path:
        """Write one document."""
        target = self.documents / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
        return target

    def apply(self, kind: str, name: str = "docs", **spec: Any) -> None:
        """Write one resource, as a file of its own, with these fields of its spec merged into the usual ones."""
        body = {
            "apiVersion": "lectern.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": {**_USUAL[kind], **spec},
        }
        path = self.root / "resources" / f"{kind}-{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(body, indent=2))


def laptop(root: Path, *options: str) -> Laptop:
    """A laptop with the three usual resources and an empty directory of documents."""
    made = Laptop(root, options)
    made.documents.mkdir(parents=True)
    for kind in _USUAL:
        made.apply(kind)
    return made


_USUAL: dict[str, dict[str, Any]] = {
    "KnowledgeBase": {
        "embedding": {"model": "sentence-transformers/all-MiniLM-L6-v2", "dimensions": 384},
        "chunking": {"strategy": "Markdown", "size": 120, "overlap": 10},
    },
    "IngestionSource": {
        "knowledgeBaseRef": "docs",
        "persistentVolume": {"claimName": "files"},
        "partition": {"tenant": "acme", "accessLevel": "public"},
    },
    "RagEndpoint": {
        "knowledgeBaseRefs": ["docs"],
        "auth": {"anonymous": {"tenant": "acme", "accessLevels": ["public"]}},
        "cache": {"exact": {"ttlSeconds": 600}},
    },
}
