"""Masking: what is found, what is left, and where the blocks are afterwards."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract.errors import ConfigurationError
from lectern_contract.scope import Partition, Scope
from lectern_contract.settings import MaskingRuleSettings
from lectern_runtime.embed.masking import Masking
from lectern_runtime.embed.parsed import Block, ParsedDocument
from lectern_runtime.ports import SearchRequest, Vectors
from lectern_runtime.sparse import SparseEncoder
from lectern_runtime_tests.pipeline import Pipeline, pipeline, worker_settings


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(tmp_path) as found:
        await found.worker().ensure()
        yield found


def rule(kind: Any, name: str = "X", pattern: str | None = None, region: str | None = None) -> MaskingRuleSettings:
    return MaskingRuleSettings(name=name, kind=kind, pattern=pattern, region=region)


@pytest.mark.parametrize(
    ("kind", "text", "masked"),
    [
        ("Email", "write to ada.l+x@example.co.uk, please", "write to [X], please"),
        ("Email", "jörg@müller.example and @handle and a@b", "[X] and @handle and a@b"),
        ("Email", "<mailto:a@example.org>", "<mailto:[X]>"),
        ("Iban", "pay DE89 3704 0044 0532 0130 00 now", "pay [X] now"),
        ("Iban", "GB82WEST12345698765432", "[X]"),
        ("Iban", "DE88 3704 0044 0532 0130 00 has wrong digits", "DE88 3704 0044 0532 0130 00 has wrong digits"),
        ("CardNumber", "card 4111 1111 1111 1111.", "card [X]."),
        ("CardNumber", "5555-5555-5555-4444, 378282246310005", "[X], [X]"),
        ("CardNumber", "order 4111 1111 1111 1112", "order 4111 1111 1111 1112"),
        ("CardNumber", "at 1732190000000 ms", "at 1732190000000 ms"),
        ("Phone", "call +49 30 901820 or 030 901820", "call [X] or 030 901820"),
    ],
)
def test_each_kind_finds_what_it_is_for_and_nothing_else(kind: str, text: str, masked: str) -> None:
    assert Masking([rule(kind)]).text(text) == masked


def test_national_numbers_are_found_where_a_region_is_named() -> None:
    assert Masking([rule("Phone", region="DE")]).text("030 901820") == "[X]"


def test_a_pattern_of_ones_own_and_the_order_of_rules() -> None:
    rules = [rule("Pattern", "TICKET", r"TICKET-[0-9]+"), rule("Pattern", "NUMBER", "[0-9]+")]
    assert Masking(rules).text("TICKET-17 of 2026") == "[TICKET] of [NUMBER]"


def test_a_pattern_that_is_none_is_refused_with_its_name() -> None:
    for wrong in ("(", "(?=look)", r"(a)\1"):
        with pytest.raises(ConfigurationError, match="the pattern of SECRET cannot be used"):
            Masking([rule("Pattern", "SECRET", wrong)])


def test_metadata_and_titles_and_headings_are_masked() -> None:
    masking = Masking([rule("Email")])
    assert masking.metadata({"owner": "a@example.org", "year": 2026, "draft": True}) == {
        "owner": "[X]",
        "year": 2026,
        "draft": True,
    }
    text = "# a@example.org\nbody"
    blocks = (Block(0, 15, "heading", ("a@example.org",)), Block(16, 20, "paragraph", ("a@example.org",)))
    masked = masking.document(ParsedDocument("of a@example.org", text, blocks))
    assert (masked.title, masked.text) == ("of [X]", "# [X]\nbody")
    assert masked.blocks == (Block(0, 5, "heading", ("[X]",)), Block(6, 10, "paragraph", ("[X]",)))


def test_what_crosses_two_blocks_belongs_to_the_first() -> None:
    parsed = ParsedDocument("", "one two three", (Block(0, 7, "paragraph"), Block(8, 13, "code")))
    masked = Masking([rule("Pattern", "M", "wo t")]).document(parsed)
    assert masked.text == "one t[M]hree"
    assert masked.blocks == (Block(0, 8, "paragraph"), Block(8, 12, "code"))


@given(
    st.lists(st.sampled_from(["a@example.org", "plain words", "4111111111111111", "x", "", "ä b"]), max_size=12),
    st.sampled_from([" ", "\n\n", ", "]),
)
def test_blocks_hold_what_they_held_but_for_the_masks(pieces: list[str], gap: str) -> None:
    blocks, text = list[Block](), ""
    for piece in pieces:
        if piece:
            blocks.append(Block(len(text), len(text) + len(piece), "paragraph"))
        text += piece + gap
    masking = Masking([rule("Email", "MAIL"), rule("CardNumber", "CARD")])
    masked = masking.document(ParsedDocument("", text, tuple(blocks)))
    assert [masked.text[block.start : block.end] for block in masked.blocks] == [
        masking.text(piece) for piece in pieces if piece
    ]


@pytest.mark.parametrize("kind", ["Email", "Iban", "CardNumber"])
def test_no_text_takes_long(kind: str) -> None:
    hostile = "a@" * 20_000 + "1" * 40_000 + "A1" * 20_000 + " 1-" * 20_000
    began = time.perf_counter()
    Masking([rule(kind), rule("Pattern", "P", "(a|a@)*b")]).text(hostile)
    assert time.perf_counter() - began < 2


async def test_nothing_that_is_masked_reaches_model_store_or_events(pipe: Pipeline) -> None:
    seen: list[str] = []

    class Listening:
        def __getattr__(self, name: str) -> Any:
            return getattr(pipe.embedder, name)

        async def embed(self, texts: Sequence[str]) -> Vectors:
            seen.extend(texts)
            return await pipe.embedder.embed(texts)

    put = await pipe.put("secret@example.org.md", "# By secret@example.org\n\nAsk secret@example.org today.")
    await pipe.publish(put.model_copy(update={"metadata": {"owner": "secret@example.org"}}))
    await pipe.index(embedder=Listening(), settings=worker_settings(masking=(rule("Email", "MAIL"),)))
    request = SearchRequest("Sparse", None, SparseEncoder("en").query("today"), 5, 5, 60, 1.0)
    (hit,) = await pipe.store.search("ns.kb.g1", Scope.of_writer(Partition("acme", "public")), request)
    chunk = hit.payload
    assert "[MAIL]" in chunk.text
    assert "secret@" not in " ".join([*seen, chunk.text, chunk.title, chunk.section, str(chunk.metadata)])
    (record,) = (await pipe.records()).values()
    assert "secret@" not in record.title
