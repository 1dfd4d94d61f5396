"""Words, sentences, passages and extractive answers: the pure parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract import ids
from lectern_contract.payload import ChunkPayload
from lectern_runtime import sentences
from lectern_runtime.adapters.extractive import ExtractiveGenerator
from lectern_runtime.ports import AnswerPiece, GenerationRequest, Hit, Passage, Scores
from lectern_runtime.query import passages
from lectern_runtime.query.passages import both_ends, chosen
from lectern_runtime.query.retrieve import Found
from lectern_runtime.terms import Terms

GUIDE = """# Limits

A name has at most 40 characters, e.g. this one. See [the rules](https://x.y/z "t") for **more**. Use `a. B` here:

- first item, which is long
- second item
  goes on

```yaml
name: short. Not

other: 1
```

| field | default |
|---|---|
| `minScore` | 0.4 |
| topK | 5 |
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the default of minScore?", ["default", "min", "score"]),
        ("How do I use it?", []),
        ("Chunks, chunking and CHUNKED", ["chunk", "chunk", "chunk"]),
        ("lectern.dev/sync-requested-at", ["lectern", "dev", "sync", "request"]),
        ("x" * 65, []),
        ("ÉCOLE école", ["école", "école"]),
        ("HTTPServer2 v1beta1", ["http", "server", "2", "v1beta1"]),
    ],
)
def test_content_words(text: str, expected: list[str]) -> None:
    assert Terms("en").of(text) == expected


def test_other_languages_have_their_own_stems_and_stop_words() -> None:
    assert Terms("de").of("die Häuser und das Haus") == ["haus", "haus"]
    assert Terms(None).of("the houses") == ["houses"]


def test_markdown_falls_into_units_that_know_their_place() -> None:
    found = [(unit.kind, unit.plain) for unit in sentences.units(GUIDE)]
    assert found == [
        ("heading", "Limits"),
        ("sentence", "A name has at most 40 characters, e.g. this one."),
        ("sentence", "See the rules for more."),
        ("sentence", "Use `a. B` here:"),
        ("item", "first item, which is long"),
        ("item", "second item goes on"),
        ("code", "```yaml\nname: short. Not\n\nother: 1\n```"),
        ("row", "field: `minScore`; default: 0.4"),
        ("row", "field: topK; default: 5"),
    ]
    assert {unit.heading for unit in sentences.units(GUIDE)} == {"Limits"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("other: 1\n```\nAfter it. More.", ["```\nother: 1\n```", "After it.", "More."]),
        ("Before.\n```sh\nrun", ["Before.", "```sh\nrun\n```"]),
        ("One . Two !  Three ?", ["One .", "Two !", "Three ?"]),
        ("Dr. Smith and J. R. Jones met. They left at 5 p.m. on foot.", 2),
        ("Version 1.2.3 is out. 42 people came. “Fine.” Good.", 4),
        ("", []),
        (" \n\n ---\n", []),
    ],
)
def test_units_of_odd_texts(text: str, expected: Any) -> None:
    found = [unit.plain for unit in sentences.units(text)]
    assert (len(found) if isinstance(expected, int) else found) == expected


@given(st.text(alphabet="ab. \n#`|-*[]()!?\t1", max_size=200))
def test_units_of_any_text_are_in_order_and_apart(text: str) -> None:
    end = 0
    for unit in sentences.units(text):
        assert end <= unit.start < unit.end <= len(text)
        end = unit.end


# ---------------------------------------------------------------------------------------- passages


def found(uri: str, start: int, text: str, *, tokens: int = 10, collection: str = "ns.kb.g1") -> Found:
    document = ids.document_id(namespace="n", knowledge_base="k", tenant="t", access_level="l", source="s", uri=uri)
    payload = ChunkPayload(
        tenant="t",
        access_level="l",
        document_id=document,
        version=1,
        source="s",
        uri=uri,
        title=uri,
        number=start,
        text=text,
        text_digest="",
        section="Part",
        start=start,
        end=start + len(text),
        tokens=tokens,
    )
    return Found(Hit(ids.chunk_id(document, start), payload, Scores()), "kb", collection)


def texts(hits: list[Found], **limits: int) -> list[tuple[int, str]]:
    context = chosen(hits, **{"top_k": 5, "token_budget": 1000, **limits})
    return [(passage.number, passage.text) for passage in context.passages]


def test_best_stand_at_both_ends_and_keep_their_rank() -> None:
    hits = [found(str(n), 0, f"text {n}") for n in range(1, 6)]
    assert texts(hits) == [(n, f"text {n}") for n in (1, 3, 5, 4, 2)]
    assert [both_ends(list(range(n))) for n in range(4)] == [[], [0], [0, 1], [0, 2, 1]]


def test_a_chunk_that_mostly_stands_in_a_better_one_is_left_out() -> None:
    hits = [found("a", 0, "x" * 100), found("a", 40, "y" * 100), found("a", 60, "z" * 100), found("b", 40, "w" * 100)]
    assert [text[0] for _, text in sorted(texts(hits))] == ["x", "z", "w"]


def test_the_same_text_in_two_documents_is_shown_once() -> None:
    assert texts([found("a", 0, "same"), found("b", 7, "same"), found("c", 0, "other")]) == [(1, "same"), (2, "other")]


def test_the_token_budget_passes_over_what_does_not_fit() -> None:
    hits = [found("a", 0, "a", tokens=60), found("b", 0, "b", tokens=50), found("c", 0, "c", tokens=40)]
    assert texts(hits, token_budget=100) == [(1, "a"), (2, "c")]
    assert texts(hits, top_k=1) == [(1, "a")]
    assert texts([]) == []


def test_a_best_passage_above_the_whole_budget_is_cut() -> None:
    assert texts([found("a", 0, "x" * 100, tokens=200)], token_budget=100) == [(1, "x" * 50)]
    assert passages.chosen([found("a", 0, "x")], top_k=1, token_budget=9).passages[0].title == "a > Part"


# ---------------------------------------------------------------------------------------- extractive


async def answer(question: str, *texts_given: str, max_tokens: int = 512) -> list[AnswerPiece]:
    given_passages = tuple(Passage(n, f"Title {n}", text) for n, text in enumerate(texts_given, start=1))
    request = GenerationRequest(question, given_passages, max_tokens)
    return [piece async for piece in ExtractiveGenerator("en").generate(request)]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How many characters may a name have?", "A name has at most 40 characters, e.g. this one. [1]"),
        ("default of minScore", "field: `minScore`; default: 0.4 [1]"),
        ("other short yaml", "```yaml\nname: short. Not\n\nother: 1\n```\n[1]"),
        (
            "a b here",
            "Use `a. B` here:\n- first item, which is long\n- second item goes on [1]",
        ),
    ],
)
async def test_answers_read_well_and_cite_the_source(question: str, expected: str) -> None:
    pieces = await answer(question, GUIDE)
    assert pieces[0].text == expected
    for piece in pieces:
        for cite in piece.cites:
            assert GUIDE[cite.start : cite.end].strip() == GUIDE[cite.start : cite.end]


@pytest.mark.parametrize("passage", ["", "# Only a heading\n", "Nothing in common."])
async def test_no_shared_word_gives_no_answer(passage: str) -> None:
    assert await answer("zebra stripes", passage) == []
    assert await answer("the of and", GUIDE) == []


async def test_a_question_in_the_text_leads_to_its_answer_and_is_none_itself() -> None:
    text = "Does it need a GPU? No, the model runs on the CPU. May it be sold? Yes, under its licence."
    pieces = await answer("Does it need a GPU?", text)
    assert "".join(piece.text for piece in pieces) == "No, the model runs on the CPU. [1]"


async def test_neighbours_are_one_piece_and_order_is_reading_order() -> None:
    text = "Refunds take five days. Cards are refunded first. The sky is blue today. Refunds for cards need a receipt."
    pieces = await answer("card refunds", text)
    assert "".join(piece.text for piece in pieces) == (
        "Cards are refunded first. [1]\n\nRefunds for cards need a receipt. [1]"
    )


async def test_the_same_sentence_in_two_passages_is_said_once() -> None:
    pieces = await answer("zebra stripes", "Zebra stripes differ.", "Zebra stripes differ. They do.")
    assert [piece.text for piece in pieces] == ["Zebra stripes differ. [1]"]


async def test_the_answer_keeps_within_its_tokens_but_for_the_best_sentence() -> None:
    text = "\n\n".join(f"Zebra stripes number {n} are wide and black and long." for n in range(9))
    assert len(await answer("zebra stripes wide", text, max_tokens=20)) == 1
    assert len(await answer("zebra stripes wide", text, max_tokens=512)) == 1


@given(st.text(alphabet="zebra stripes. \n#`|-*[]!?\t1", max_size=300))
async def test_cites_of_any_passage_lie_in_it(text: str) -> None:
    for piece in await answer("zebra stripes", text):
        assert piece.cites
        assert all(0 <= cite.start < cite.end <= len(text) for cite in piece.cites)
