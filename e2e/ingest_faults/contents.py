"""What documents become, told by the project's own parser and chunker run in this process on the same bytes.

The truth of the reference model: no sandbox, no store, no log. Results are kept by bytes, type and title.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from e2e.ingest_faults import stub_vectors
from e2e.ingest_faults.model import Content, Piece
from e2e.ingest_faults.stub_vectors import NOT_FINITE, OVERLOADED, REFUSED
from lectern_contract.errors import DocumentError
from lectern_contract.messages import Put
from lectern_contract.settings import WorkerSettings
from lectern_runtime.embed import parse
from lectern_runtime.embed.chunk import ChunkRules, chunk
from lectern_runtime.embed.prepare import title_of

T = TypeVar("T")
FAULTS = {REFUSED: "TextRefused", OVERLOADED: "DependencyFailed", NOT_FINITE: "DependencyFailed"}
"""How a document ends whose text holds a marker of the stub embedder."""


class Contents:
    """The truth about every document whose bytes are in `blobs`, by sha256, under the settings of a worker."""

    def __init__(self, settings: WorkerSettings, blobs: Mapping[str, bytes]) -> None:
        self._settings = settings
        self._blobs = blobs
        self._known: dict[tuple[str, str, str], Content] = {}

    def __call__(self, put: Put) -> Content:
        """Return what a document becomes."""
        key = (put.sha256, put.media_type, put.title or put.document.uri)
        if key not in self._known:
            self._known[key] = self._become(put)
        return self._known[key]

    def _become(self, put: Put) -> Content:
        parsing = self._settings.parsing
        if put.media_type not in parsing.media_types:
            return Content(fault="MediaTypeNotAccepted")
        if put.size > parsing.max_document_bytes:
            return Content(fault="TooLarge")
        data = self._blobs.get(put.sha256)
        if data is None:
            return Content(fault="BlobMissing")
        try:
            parsed = parse.parse(data, put.media_type)
            title = title_of(put, parsed)
            chunks = _finished(chunk(parsed, _rules(self._settings), _tokenize, title=title))
        except DocumentError as error:
            return Content(fault=error.reason)
        for marker, reason in FAULTS.items():
            if any(marker in each.embedded for each in chunks):
                return Content(title, fault=reason)
        return Content(title, tuple(Piece(each.text, each.embedded, each.start, each.end) for each in chunks))


def _rules(settings: WorkerSettings) -> ChunkRules:
    chunking, embedder = settings.chunking, settings.embedder
    return ChunkRules(
        strategy=chunking.strategy,
        size=chunking.size,
        overlap=chunking.overlap,
        max_input_tokens=min(embedder.max_input_tokens, stub_vectors.MAX_INPUT_TOKENS),
        prefix=embedder.document_prefix,
    )


async def _tokenize(texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
    return [stub_vectors.spans(text) for text in texts]


def _finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine gives that never really waits: no loop is needed, so any thread may ask."""
    while True:
        try:
            waits_for = coroutine.send(None)
        except StopIteration as end:
            found: T = end.value
            return found
        if waits_for is not None:
            coroutine.close()
            raise RuntimeError("a document of this harness is so long that the chunker takes a thread; make it shorter")
