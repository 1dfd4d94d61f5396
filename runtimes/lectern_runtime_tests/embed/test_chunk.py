"""Chunking: properties that hold for every text, and examples of where cuts fall."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lectern_contract.errors import ConfigurationError, DocumentError
from lectern_runtime.embed import cuts, parse
from lectern_runtime.embed.chunk import SPECIAL_TOKENS, ChunkRules, ChunkText, chunk
from lectern_runtime.embed.parsed import Block, ParsedDocument
from lectern_runtime_tests.pipeline import StubEmbedder

Strategy = Literal["Recursive", "Fixed", "Markdown"]
STRATEGIES: tuple[Strategy, ...] = ("Recursive", "Fixed", "Markdown")
STUB = StubEmbedder()
ALPHABET = "abcdefg éß\u4e2d\u6587\U0001f600.,!?\n\n -#|`>*1\t"
TEXTS = st.lists(st.text(ALPHABET, max_size=60), max_size=40).map(" ".join)


def rules(strategy: Strategy, *, size: int = 32, overlap: int = 4, limit: int = 64, prefix: str = "") -> ChunkRules:
    return ChunkRules(strategy, size, overlap, limit, prefix)


def plain(text: str) -> ParsedDocument:
    return ParsedDocument("", text, (Block(0, len(text), "paragraph"),))


async def fickle(texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
    """Tokens that differ inside and outside a document: a text that begins with a space or letter gets more."""
    found = []
    for text in texts:
        spans: list[tuple[int, int]] = []
        for place, character in enumerate(text):
            if character.isspace():
                continue
            if spans and place % 3 and spans[-1][1] == place and not text[:1].isupper():
                spans[-1] = (spans[-1][0], place + 1)
            else:
                spans.append((place, place + 1))
        found.append(spans)
    return found


async def bytewise(texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
    """One token for each byte, so that several share a character, as byte-level models have it."""
    return [
        [(place, place + 1) for place, character in enumerate(text) for _ in character.encode() if character.strip()]
        for text in texts
    ]


def covered(text: str, chunks: Sequence[ChunkText]) -> bool:
    inside = bytearray(len(text))
    for each in chunks:
        inside[each.start : each.end] = b"1" * (each.end - each.start)
    return not any(character.strip() and not inside[place] for place, character in enumerate(text))


@pytest.mark.parametrize("tokenize", [STUB.tokenize, fickle, bytewise], ids=["stub", "fickle", "bytewise"])
@given(
    text=TEXTS,
    strategy=st.sampled_from(STRATEGIES),
    size=st.integers(16, 40),
    share=st.floats(0, 0.5),
    prefix=st.sampled_from(["", "passage: "]),
    title=st.sampled_from(["", "A title", "t" * 400]),
)
@settings(suppress_health_check=[HealthCheck.differing_executors], deadline=None, max_examples=40)
async def test_chunks_fit_cover_and_come_from_their_offsets(
    tokenize: object, text: str, strategy: Strategy, size: int, share: float, prefix: str, title: str
) -> None:
    assert callable(tokenize)
    parsed = _parsed(text)
    if parsed is None:
        return
    found = rules(strategy, size=size, overlap=int(size * share), limit=64, prefix=prefix)
    chunks = await chunk(parsed, found, tokenize, title=title)
    assert covered(parsed.text, chunks)
    places = [(each.start, each.end) for each in chunks]
    assert places == sorted(set(places))
    for each in chunks:
        assert each.text == parsed.text[each.start : each.end] == each.text.strip()
        assert each.embedded.startswith(prefix)
        assert each.embedded.endswith(each.text)
        assert each.embedded == prefix + each.terms
        ((own), (whole)) = await tokenize([each.text, each.embedded])
        assert each.tokens <= size
        assert len(whole) + SPECIAL_TOKENS == each.embedded_tokens <= 64
        if tokenize != fickle:
            assert len(own) == each.tokens


def _parsed(text: str) -> ParsedDocument | None:
    try:
        return parse.parse(text.encode(), "text/markdown")
    except DocumentError:
        return None


@given(count=st.integers(1, 300), size=st.integers(16, 40), share=st.floats(0, 0.5))
async def test_fixed_chunks_have_exactly_their_size_and_their_overlap(count: int, size: int, share: float) -> None:
    overlap = int(size * share)
    text = " ".join(f"w{number}" for number in range(count))
    words = text.split()
    chunks = await chunk(plain(text), rules("Fixed", size=size, overlap=overlap), STUB.tokenize, title="")
    step = size - overlap
    expected = [words[start : start + size] for start in range(0, max(count - overlap, 1), step)]
    assert [each.text.split() for each in chunks] == expected


async def test_recursive_prefers_paragraphs_then_lines_then_sentences_then_words() -> None:
    words = "one two three four five six seven eight nine ten eleven"  # 13 tokens of the stub
    paragraphs = f"{words}\n\n{words}\n\n{words}"
    lines = f"{words}\n{words}\n{words}"
    sentences = f"{words}. {words}. {words}."
    for text, expected in (
        (paragraphs, [f"{words}\n\n{words}", words]),
        (lines, [f"{words}\n{words}", words]),
        (sentences, [f"{words}. {words}.", f"{words}."]),
    ):
        chunks = await chunk(plain(text), rules("Recursive", size=30, overlap=0), STUB.tokenize, title="")
        assert [each.text for each in chunks] == expected
    long = " ".join(["word"] * 50)
    chunks = await chunk(plain(long), rules("Recursive", size=30, overlap=0), STUB.tokenize, title="")
    assert [each.tokens for each in chunks] == [30, 20]


async def test_recursive_overlap_is_whole_sentences_where_one_fits() -> None:
    text = "Alpha beta one. Gamma delta two. " * 10
    chunks = await chunk(plain(text), rules("Recursive", size=20, overlap=6), STUB.tokenize, title="")
    assert len(chunks) > 3
    for before, after in pairwise(chunks):
        shared = text[after.start : before.end]
        assert shared[0].isupper()
        assert shared.endswith(".")


async def test_a_heading_goes_with_what_follows_it() -> None:
    text = "Some words here. " * 6 + "\n\n# Heading\n\n" + "Other words there. " * 6
    parsed = parse.parse(text.encode(), "text/markdown")
    for strategy in STRATEGIES[::2]:
        chunks = await chunk(parsed, rules(strategy, size=30, overlap=0), STUB.tokenize, title="")
        (with_heading,) = [each for each in chunks if "# Heading" in each.text]
        assert "Other words" in with_heading.text
        assert with_heading.section == "Heading"


async def test_markdown_cuts_at_headings_and_keeps_code_and_tables_whole() -> None:
    code = "```\n" + "\n\n".join(f"a{number} = {number}" for number in range(4)) + "\n```"
    table = "|a|b|\n|-|-|\n" + "|1|2|\n" * 2
    text = f"# One\n\nShort.\n\n# Two\n\n{'Some words here now. ' * 4}\n\n{code}"
    text += f"\n\n{'Middle of it all. ' * 4}\n\n{table}\n\nEnd."
    parsed = parse.parse(text.encode(), "text/markdown")
    chunks = await chunk(parsed, rules("Markdown", size=40, overlap=8), STUB.tokenize, title="")
    assert chunks[0].text == "# One\n\nShort."
    assert chunks[1].text.startswith("# Two")
    assert sum(code in each.text for each in chunks) == 1
    assert sum(table.strip() in each.text for each in chunks) == 1


async def test_the_context_is_title_and_section_as_far_as_they_fit() -> None:
    deep = "\n".join(f"{'#' * level} Heading level {level} is long" for level in range(1, 7))
    parsed = parse.parse(f"{deep}\n\n{'text ' * 60}".encode(), "text/markdown")
    for limit, context in (
        (200, "T > " + " > ".join(f"Heading level {level} is long" for level in range(1, 7))),
        (50, "T > Heading level 6 is long"),
        (36, "T"),
        (34, ""),
    ):
        chunks = await chunk(parsed, rules("Markdown", size=32, overlap=0, limit=limit), STUB.tokenize, title="T")
        assert chunks[-1].embedded == (context + "\n" if context else "") + chunks[-1].text


async def test_a_title_is_not_said_twice() -> None:
    parsed = parse.parse(b"# Top\n\n## Sub\n\ntext", "text/markdown")
    (only,) = await chunk(parsed, rules("Recursive", size=32), STUB.tokenize, title="Top")
    assert only.embedded.startswith("Top\n# Top")


async def test_a_prefix_that_leaves_no_room_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match="documentPrefix has 60 tokens"):
        await chunk(plain("x"), rules("Recursive", prefix="a " * 60), STUB.tokenize, title="")


async def test_a_text_without_tokens_is_empty() -> None:
    async def none(texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        return [[] for _ in texts]

    with pytest.raises(DocumentError, match="none of its text"):
        await chunk(plain("\u200b"), rules("Recursive"), none, title="")


async def test_what_the_model_calls_one_token_is_still_cut() -> None:
    async def one(texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        return [[(0, len(text))] if text else [] for text in texts]

    chunks = await chunk(plain("x" * 100_000), rules("Recursive", size=32), one, title="")
    assert max(len(each.text) for each in chunks) <= 32 * cuts.LONGEST_PIECE
    assert covered("x" * 100_000, chunks)


async def test_time_grows_with_the_length_only() -> None:
    seconds = []
    for factor in (1, 8):
        parsed = parse.parse((b"# H\n\nSome words, and more of them. \n\n" * 500) * factor, "text/markdown")
        began = time.process_time()
        for strategy in STRATEGIES:
            await chunk(parsed, rules(strategy), STUB.tokenize, title="T")
        seconds.append(time.process_time() - began)
    assert seconds[1] < 8 * 3 * seconds[0]
