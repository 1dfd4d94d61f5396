"""What the chunkers are worth to retrieval: five long texts, 472 questions, the real MiniLM, five chunks a question.

The benchmark is that of B. Smith and A. Troynikov, "Evaluating Chunking Strategies for Retrieval" (Chroma, 2024); the
figures that it gives for the same model stand beside ours. Texts go through the shipped parser and chunker; what is
embedded is what the worker would embed, for a document without a title. Search is exact, over all five texts at once.
"""

from __future__ import annotations

import json
import lzma
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import vector_cache
from bench.data import DataMissing
from bench.ingest.excerpts import Piece, Span, Worth, worth
from bench.report import Aim, Goal
from lectern_runtime.adapters.onnx import MAX_INPUT_TOKENS, OnnxMiniLm
from lectern_runtime.embed import parse
from lectern_runtime.embed.chunk import ChunkRules, chunk
from lectern_runtime.embed.cuts import Strategy
from lectern_runtime.ports import Vectors

RETRIEVED = 5
MEDIA_TYPE = "text/markdown"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to cut: strategy, size and overlap in tokens of the model."""

    strategy: Strategy
    size: int
    overlap: int

    def __str__(self) -> str:
        return f"{self.strategy} {self.size}/{self.overlap}"


@dataclass(frozen=True, slots=True)
class Published:
    """What the report says of a splitter of the same kind with all-MiniLM-L6-v2, in percent."""

    splitter: str
    recall: float
    precision: float
    precision_omega: float
    iou: float


SHIPPED = Setting("Recursive", 200, 20)
PUBLISHED: Mapping[Setting, Published | None] = {
    SHIPPED: None,
    Setting("Recursive", 200, 0): Published("Recursive 200/0", 75.7, 6.5, 31.2, 6.5),
    Setting("Fixed", 200, 0): Published("TokenText 200/0", 76.6, 4.1, 19.1, 4.1),
    Setting("Markdown", 200, 0): Published("Recursive 200/0", 75.7, 6.5, 31.2, 6.5),
    Setting("Recursive", 250, 125): Published("Recursive 250/125", 78.7, 4.9, 21.9, 4.9),
    Setting("Fixed", 250, 125): Published("TokenText 250/125", 82.4, 3.6, 11.4, 3.5),
}
"""Settings that are measured, and what is published for comparable ones. Theirs count tokens of cl100k, which are
longer; a size of 400 or 800 is beyond the 256 tokens that the model reads."""
QUICK = (SHIPPED, Setting("Recursive", 200, 0), Setting("Fixed", 200, 0))
QUICK_TEXTS = ("chatlogs", "state_of_the_union")
PERCENT_OF_PUBLISHED = 0.95
RECALL = Aim("chunking-recall", "recall of the shipped chunker, k 5", ">=", 0.757)
LEAST = Aim("chunking-published", "least recall of a setting, share of the published one's", ">=", PERCENT_OF_PUBLISHED)
AIMS = (RECALL, LEAST)


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the text that it is about, and the excerpts that answer it."""

    text: str
    words: str
    excerpts: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over the questions, and how many chunks there were, of which mean length in tokens."""

    worth: Worth
    chunks: int
    tokens: float
    spread: float

    def told(self, published: Published | None) -> str:
        """Return the scores in words, in percent."""
        w = self.worth
        own = (
            f"recall {w.recall:.1%} (deviation {self.spread:.1%}), precision {w.precision:.1%}, "
            f"omega {w.precision_omega:.1%}, IoU {w.iou:.1%}; {self.chunks} chunks of {self.tokens:.0f} tokens"
        )
        if published is None:
            return own
        p = published
        return f"{own}; published {p.splitter}: {p.recall} / {p.precision} / {p.precision_omega} / {p.iou}"


def texts(root: Path) -> dict[str, str]:
    """Return the long texts by name; raises DataMissing."""
    folder = root / "chunking" / "documents"
    found = {path.name.removesuffix(".md.xz"): path for path in sorted(folder.glob("*.md.xz"))}
    if not found:
        raise DataMissing(f"{folder} holds no texts: the test data is incomplete; fetch it again")
    return {name: lzma.decompress(path.read_bytes()).decode() for name, path in found.items()}


def questions(root: Path) -> list[Question]:
    """Return the questions in the order of their file; raises DataMissing."""
    path = root / "chunking" / "questions.jsonl"
    if not path.is_file():
        raise DataMissing(f"{path} is not there: the test data is incomplete; fetch it again")
    rows = map(json.loads, path.read_text().splitlines())
    return [
        Question(row["doc"], row["text"], tuple((each["start"], each["end"]) for each in row["excerpts"]))
        for row in rows
    ]


async def scores(
    setting: Setting, found: Mapping[str, str], asked: Sequence[Question], embedder: OnnxMiniLm, where: Path, say: Say
) -> Scores:
    """Return the scores of one setting; vectors are kept in `where`."""
    pieces: list[Piece] = []
    embedded: list[str] = []
    tokens: list[int] = []
    rules = ChunkRules(setting.strategy, setting.size, setting.overlap, MAX_INPUT_TOKENS, "")
    for name, text in found.items():
        parsed = parse.parse(text.encode(), MEDIA_TYPE)
        if parsed.text != text:
            raise DataMissing(f"the parser changes {name}: places of its excerpts mean nothing in what it gives")
        for each in await chunk(parsed, rules, embedder.tokenize, title=""):
            pieces.append(Piece(name, each.start, each.end))
            embedded.append(each.embedded)
            tokens.append(each.tokens)
    vectors = await vector_cache.vectors(embedded, embedder, where, say)
    of_questions = await vector_cache.vectors([each.words for each in asked], embedder, where, say)
    found_worth = judged(pieces, vectors, asked, of_questions)
    spread = statistics.pstdev(one.recall for one in found_worth)
    return Scores(mean(found_worth), len(pieces), statistics.mean(tokens), spread)


def judged(pieces: Sequence[Piece], vectors: Vectors, asked: Sequence[Question], of_questions: Vectors) -> list[Worth]:
    """Return the worth of the best `RETRIEVED` chunks for each question; equal scores go by place."""
    by_text: dict[str, list[Piece]] = {}
    for piece in pieces:
        by_text.setdefault(piece.text, []).append(piece)
    found = []
    for question, row in zip(asked, of_questions @ vectors.T, strict=True):
        best = np.argsort(-row, kind="stable")[:RETRIEVED]
        found.append(worth(question.text, question.excerpts, [pieces[i] for i in best], by_text[question.text]))
    return found


def mean(found: Sequence[Worth]) -> Worth:
    """Return the mean of each score."""
    names = Worth.__dataclass_fields__
    return Worth(**{name: statistics.mean(getattr(each, name) for each in found) for name in names})


async def measure(root: Path, where: Path, say: Say, *, quick: bool) -> tuple[list[Goal], dict[str, object]]:
    """Return the goals, and the scores of each setting in words. `quick` takes the two shortest texts."""
    found, asked = texts(root), questions(root)
    if quick:
        found = {name: found[name] for name in QUICK_TEXTS}
        asked = [each for each in asked if each.text in found]
    embedder = OnnxMiniLm.open()
    try:
        chosen = QUICK if quick else tuple(PUBLISHED)
        all_scores = {each: await scores(each, found, asked, embedder, where, say) for each in chosen}
    finally:
        await embedder.close()
    return goals(all_scores, len(asked)), {
        f"chunking {each}": one.told(PUBLISHED[each]) for each, one in all_scores.items()
    }


def goals(found: Mapping[Setting, Scores], asked: int) -> list[Goal]:
    """Return the goals of the shipped setting and of the one that is furthest below its published figure."""
    shares = {
        each: 100 * one.worth.recall / published.recall
        for each, one in found.items()
        if (published := PUBLISHED[each]) is not None
    }
    worst = min(shares, key=lambda each: shares[each])
    return [
        RECALL.measured(found[SHIPPED].worth.recall, n=asked, reason=f"{SHIPPED}, the default"),
        LEAST.measured(shares[worst], n=len(shares), reason=f"{worst}; published figures count other tokens"),
    ]
