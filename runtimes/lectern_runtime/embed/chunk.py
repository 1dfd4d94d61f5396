"""Cuts a parsed document into chunks of at most so many tokens of the embedding model, counted, not guessed.

Called by the worker between parsing and embedding. The document is tokenized once to find the cuts; each
chunk is then tokenized as it will be embedded, and one that came out too long is cut again.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from lectern_contract.errors import ConfigurationError, DocumentError
from lectern_runtime.embed import cuts
from lectern_runtime.embed.cuts import Cuts, Strategy
from lectern_runtime.embed.parsed import SECTION_SEPARATOR, Block, ParsedDocument, shortened

Tokenize = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[tuple[int, int]]]]]

SPECIAL_TOKENS = 2
SMALLEST_SIZE = 8
WINDOW = 64
"""Chunks that are checked in one call: one that must be cut again costs at most this many others their check."""
MAX_SECTION = 512
THREAD_TOKENS = 20_000
"""A longer document is looked through in a thread, since queries may share this process."""


@dataclass(frozen=True, slots=True)
class ChunkRules:
    """How to cut. `size` and `overlap` are in tokens, `max_input_tokens` counts prefix, context and special tokens."""

    strategy: Strategy
    size: int
    overlap: int
    max_input_tokens: int
    prefix: str


@dataclass(frozen=True, slots=True)
class ChunkText:
    """One chunk: `text` is characters [start, end) of the document, `embedded` what the model is given for it.

    `terms` is what its words are counted in for BM25.
    """

    text: str
    start: int
    end: int
    section: str
    page: int | None
    tokens: int
    terms: str
    embedded: str
    embedded_tokens: int


async def chunk(parsed: ParsedDocument, rules: ChunkRules, tokenize: Tokenize, *, title: str) -> list[ChunkText]:
    """The chunks of a document in order; together they hold all of its text but white space.

    None has more than `rules.size` tokens, nor more than the model reads with its prefix and context. The context
    is the title and the section, as far as they fit. Raises `DocumentError` for a text without a single token, and
    `ConfigurationError` for a prefix that leaves no room.
    """
    (spans,) = await tokenize([parsed.text])
    if not spans:
        raise DocumentError("none of its text means anything to the model", stage="chunk", reason="Empty")
    heads = await _Heads.of(parsed, rules, tokenize, title=title)
    find = partial(cuts.find, parsed, spans, rules.strategy, size=heads.size)
    found = await asyncio.to_thread(find) if len(spans) > THREAD_TOKENS else find()
    return await _Chunker(parsed, rules, found, heads, tokenize).run()


class _Heads:
    """What stands before a chunk when it is embedded, by section: the prefix, and as much context as fits."""

    def __init__(self, prefix: str, size: int, chosen: dict[tuple[str, ...], tuple[str, int]]) -> None:
        self.prefix = prefix
        self.size = size
        self._chosen = chosen

    @classmethod
    async def of(cls, parsed: ParsedDocument, rules: ChunkRules, tokenize: Tokenize, *, title: str) -> _Heads:
        sections = list(dict.fromkeys(block.section for block in parsed.blocks)) or [()]
        offers = [_contexts(title, section) for section in sections]
        texts = list(dict.fromkeys([rules.prefix, *(rules.prefix + each for offer in offers for each in offer)]))
        counts = dict(zip(texts, map(len, await tokenize(texts)), strict=True))
        room = rules.max_input_tokens - SPECIAL_TOKENS
        size = min(rules.size, room - counts[rules.prefix])
        if size < SMALLEST_SIZE:
            raise ConfigurationError(
                f"spec.embedding.documentPrefix has {counts[rules.prefix]} tokens and leaves no room for text in the "
                f"{rules.max_input_tokens} that the model reads; shorten it"
            )
        chosen = {}
        for section, offer in zip(sections, offers, strict=True):
            head = next(
                (rules.prefix + each for each in offer if counts[rules.prefix + each] + size <= room), rules.prefix
            )
            chosen[section] = (head, counts[head])
        return cls(rules.prefix, size, chosen)

    def of_section(self, section: tuple[str, ...]) -> tuple[str, int]:
        """Prefix and context, and how many tokens they have."""
        return self._chosen[section]


def _contexts(title: str, section: tuple[str, ...]) -> list[str]:
    """Contexts to try, the fullest first: title with the whole path, with its last heading, title alone."""
    path = section[1:] if section and section[0] == title else section
    tried = [(title, *path), (title, *path[-1:]), (title,)]
    lines = [SECTION_SEPARATOR.join(part for part in parts if part) for parts in tried]
    return [line + "\n" for line in dict.fromkeys(lines) if line]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A chunk to be checked: pieces [start, end), of which those from `fresh` on were in no chunk before."""

    start: int
    fresh: int
    end: int


class _Chunker:
    """Walks along the cuts of one document."""

    def __init__(
        self, parsed: ParsedDocument, rules: ChunkRules, found: Cuts, heads: _Heads, tokenize: Tokenize
    ) -> None:
        self._parsed = parsed
        self._rules = rules
        self._cuts = found
        self._heads = heads
        self._tokenize = tokenize
        self._block_starts = [block.start for block in parsed.blocks]
        self._overlap = min(rules.overlap, heads.size // 2)

    async def run(self) -> list[ChunkText]:
        chunks: list[ChunkText] = []
        start = fresh = 0
        while fresh < self._cuts.count:
            drafts = self._plan(start, fresh)
            good, bad = await self._check(drafts)
            chunks.extend(each for each in good if each.text)
            done = drafts[len(good) - 1] if good else None
            if bad is not None:
                done, shorter = await self._shorten(drafts[len(good)], bad)
                chunks.append(shorter)
            assert done is not None
            start, fresh = self._next(done.end), done.end
        return chunks

    def _plan(self, start: int, fresh: int) -> list[_Draft]:
        """The next chunks, if all of them turn out as long as the document's own tokens say."""
        drafts: list[_Draft] = []
        while fresh < self._cuts.count and len(drafts) < WINDOW:
            draft = self._draft(start, fresh, self._heads.size)
            drafts.append(draft)
            start, fresh = self._next(draft.end), draft.end
        return drafts

    def _draft(self, start: int, fresh: int, size: int) -> _Draft:
        if self._rules.strategy == "Fixed":
            end = self._cuts.fixed_end(start, size)
        else:
            end = self._cuts.end(start, size, self._overlap)
        # A chunk that could be no longer than what it repeats would never get on: it repeats nothing then.
        return _Draft(start, fresh, end) if end > fresh else self._draft(fresh, fresh, size)

    def _next(self, end: int) -> int:
        if self._rules.strategy == "Fixed":
            return self._cuts.back(end, self._overlap, exact=True)
        if end < self._cuts.count and self._whole(end):
            return end
        return self._cuts.back(end, self._overlap, exact=False)

    def _whole(self, place: int) -> bool:
        """Whether a chunk from `place` on repeats nothing: a section of Markdown, or code and tables kept whole."""
        if self._rules.strategy != "Markdown":
            return False
        block = self._block(int(self._cuts.at[place]))
        return block.kind in ("heading", "code", "table")

    async def _check(self, drafts: Sequence[_Draft]) -> tuple[list[ChunkText], ChunkText | None]:
        """The chunks before the first one that is too long, and that one."""
        made = [self._make(draft) for draft in drafts]
        spans = await self._tokenize([embedded for *_, embedded, _ in made])
        good: list[ChunkText] = []
        for (start, end, block, embedded, head), tokens in zip(made, spans, strict=True):
            own = sum(1 for _, last in tokens if last > len(head))
            found = ChunkText(
                text=self._parsed.text[start:end],
                start=start,
                end=end,
                section=shortened(SECTION_SEPARATOR.join(block.section), MAX_SECTION),
                page=block.page,
                tokens=own,
                terms=embedded[len(self._rules.prefix) :],
                embedded=embedded,
                embedded_tokens=len(tokens) + SPECIAL_TOKENS,
            )
            if own > self._heads.size or found.embedded_tokens > self._rules.max_input_tokens:
                return good, found
            good.append(found)
        return good, None

    async def _shorten(self, draft: _Draft, long: ChunkText) -> tuple[_Draft, ChunkText]:
        """Cut a chunk that has more tokens by itself than inside the document, until it fits."""
        size = draft.end - draft.start
        while True:
            over = max(long.tokens / self._heads.size, long.embedded_tokens / self._rules.max_input_tokens)
            shorter = min(size - 1, int(size / over))
            if shorter < 1:
                raise DocumentError(
                    f"characters {long.start} to {long.end} have {long.tokens} tokens and cannot be cut",
                    stage="chunk",
                    reason="Unsplittable",
                )
            draft = self._draft(draft.start, draft.fresh, shorter)
            size = draft.end - draft.start if draft.end - draft.start < size else shorter
            (good, bad) = await self._check([draft])
            if bad is None:
                return draft, good[0]
            long = bad

    def _make(self, draft: _Draft) -> tuple[int, int, Block, str, str]:
        at, text = self._cuts.at, self._parsed.text
        start, end = int(at[draft.start]), int(at[draft.end])
        raw = text[start:end]
        start += len(raw) - len(raw.lstrip())
        end -= len(raw) - len(raw.rstrip())
        block = self._block(max(int(at[draft.fresh]), start))
        head, _ = self._heads.of_section(block.section)
        return start, max(start, end), block, head + text[start:end], head

    def _block(self, character: int) -> Block:
        """The block at a character, or the one before it."""
        return self._parsed.blocks[max(0, bisect_right(self._block_starts, character) - 1)]
