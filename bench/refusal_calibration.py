"""Fits and judges the support value: how well it tells questions that the corpus answers from those that it does not.

`python -m bench.refusal_calibration` indexes public question sets in the embedded store, searches them as the query
runtime does, fits the coefficients of `lectern_runtime.query.support` on every other question, and prints on the rest
how many questions of each kind would be refused at each bar. `--shipped` judges the coefficients that ship.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import lzma
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import data, resources, vector_cache, wiki_index
from bench.data import Paragraph
from lectern_contract import query_wiring
from lectern_contract.query_settings import RetrievalSettings
from lectern_contract.scope import Scope
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.onnx import DIMENSIONS, OnnxMiniLm
from lectern_runtime.embed import parse
from lectern_runtime.embed.chunk import ChunkRules, chunk
from lectern_runtime.ports import CollectionSpec, Embedder, Vectors
from lectern_runtime.query import support
from lectern_runtime.query.retrieve import embed_question, search_request
from lectern_runtime.query.support import Coefficients, Evidence
from lectern_runtime.sparse import SparseEncoder
from lectern_runtime.terms import Terms

BARS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
LONG_TEXTS = ("state_of_the_union", "wikitexts", "chatlogs")
PAGES, SEED = 60, 7
RIDGE = 1e-2

Table = NDArray[np.float64]
Corpora = dict[str, list[list[Paragraph]]]  # in parts, whose vectors are cached one by one


@dataclass(frozen=True)
class Question:
    """A question, whether its own passage answers it, and which set it is from."""

    text: str
    answerable: bool
    set: str


@dataclass(frozen=True)
class Case:
    """Questions of one set asked of one corpus. `kind` says what is right: answered, near, other or absent."""

    kind: str
    set: str
    corpus: str
    answerable: bool | None


# What is asked of what. `near`: the passage is about the topic and does not answer. `other`: an encyclopaedia asked
# about things in another part of it, some of which it may know. `absent`: manuals asked about the world.
CASES = (
    Case("answered", "wiki-a", "encyclopaedia", True),
    Case("answered", "clapnq", "encyclopaedia", True),
    Case("answered", "long texts", "long-texts", True),
    Case("near", "clapnq", "encyclopaedia", False),
    Case("other", "wiki-a", "clapnq", None),
    Case("other", "clapnq", "wiki-a", None),
    Case("absent", "wiki-a", "manual", None),
    Case("absent", "clapnq", "manual", None),
    Case("absent", "long texts", "manual", None),
)


async def main(shipped: bool) -> None:
    """Measure, fit and print."""
    root, cache = data.directory(os.environ), vector_cache.directory(os.environ)
    kb = resources.knowledge_base()
    settings = query_wiring.query_settings(resources.endpoint(), {kb.name: kb}).retrieval
    embedder = OnnxMiniLm.open()
    questions = read_questions(root)
    corpora = await read_corpora(root, embedder)
    with tempfile.TemporaryDirectory() as directory:
        store = await EdgeStore.open(Path(directory))
        for name, parts in corpora.items():
            await index(store, name, parts, embedder, cache)
        found = {case: await evidence_of(case, questions, store, embedder, settings) for case in CASES}
        await store.close()
    await embedder.close()
    coefficients = support.HYBRID if shipped else fitted(found)
    print(f"\n{'shipped' if shipped else 'fitted'}: {coefficients}")
    for name, without in (("DENSE", {"agreement"}), ("SPARSE", {"cosine", "agreement"})):
        if not shipped:
            print(f"{name}: {fitted(found, without=without)}")
    report(found, coefficients)


# ---------------------------------------------------------------------------------------------- data


def read_questions(root: Path) -> list[Question]:
    """All questions of the three sets."""
    retrieval = root / "retrieval"
    wiki = [json.loads(line) for line in (retrieval / "wiki-a" / "queries.jsonl").open(encoding="utf-8")]
    clapnq = [json.loads(line) for line in (retrieval / "clapnq" / "queries.jsonl").open(encoding="utf-8")]
    chunking = [json.loads(line) for line in (root / "chunking" / "questions.jsonl").open(encoding="utf-8")]
    return [
        *(Question(each["text"], True, "wiki-a") for each in wiki),
        *(Question(each["text"], each["answerable"], "clapnq") for each in clapnq),
        *(Question(each["text"], True, "long texts") for each in chunking if each["doc"] in LONG_TEXTS),
    ]


async def read_corpora(root: Path, embedder: Embedder) -> Corpora:
    """Passages by corpus; long texts and manual pages are chunked as the worker does."""
    wiki = list(data.read_wiki(root).paragraphs)
    lines = lzma.decompress((root / "retrieval" / "clapnq" / "corpus.jsonl.xz").read_bytes()).decode().splitlines()
    clapnq = [Paragraph(**json.loads(line)) for line in lines]
    long_texts: list[Paragraph] = []
    for name in LONG_TEXTS:
        content = lzma.decompress((root / "chunking" / "documents" / f"{name}.md.xz").read_bytes())
        long_texts += await chunked(name, content, embedder)
    manual: list[Paragraph] = []
    with tempfile.TemporaryDirectory() as directory:
        for page in data.unpack_pages(root, Path(directory), pages=PAGES, seed=SEED):
            manual += await chunked(str(page.relative_to(directory)), page.read_bytes(), embedder)
    return {
        "encyclopaedia": [clapnq, wiki],
        "clapnq": [clapnq],
        "wiki-a": [wiki],
        "long-texts": [long_texts],
        "manual": [manual],
    }


async def chunked(name: str, content: bytes, embedder: Embedder) -> list[Paragraph]:
    """The chunks of a Markdown document, by the defaults of a knowledge base."""
    kb = resources.knowledge_base()
    rules = kb.spec.chunking
    parsed = parse.parse(content, "text/markdown")
    limits = ChunkRules(rules.strategy, rules.size, rules.overlap, kb.spec.embedding.max_input_tokens, "")
    chunks = await chunk(parsed, limits, embedder.tokenize, title=parsed.title)
    return [
        Paragraph(f"{name}#{number}", each.section or parsed.title, each.text) for number, each in enumerate(chunks)
    ]


# ------------------------------------------------------------------------------------------- measure


async def index(
    store: EdgeStore, name: str, parts: Sequence[Sequence[Paragraph]], embedder: Embedder, cache: Path
) -> None:
    """Put a corpus into a collection of its name."""
    await store.ensure_collection(CollectionSpec(name, DIMENSIONS, sparse=True, identity="calibration"))
    vectors = np.vstack([await embedded(part, embedder, cache) for part in parts])
    paragraphs = [each for part in parts for each in part]
    await wiki_index.fill(store, name, paragraphs, vectors, SparseEncoder("en"))


async def embedded(paragraphs: Sequence[Paragraph], embedder: Embedder, cache: Path) -> Vectors:
    """Vectors of the passages, as far as the model reads them, shape (n, 384)."""
    texts, _ = await wiki_index.embeddable(paragraphs, embedder)
    return await vector_cache.vectors(texts, embedder, cache, print)


async def evidence_of(
    case: Case, questions: Sequence[Question], store: EdgeStore, embedder: Embedder, settings: RetrievalSettings
) -> list[Evidence]:
    """What the runtime would judge each question of the case by."""
    scope, encoder, terms = Scope.of_writer(resources.PARTITION), SparseEncoder("en"), Terms("en")
    asked = [each for each in questions if each.set == case.set and case.answerable in (None, each.answerable)]
    found = []
    for question in asked:
        dense, _ = await embed_question(embedder, question.text)
        request = search_request(settings, dense, encoder.query(question.text), settings.top_k)
        assert request is not None
        hits = await store.search(case.corpus, scope, request)
        found.append(support.evidence(question.text, hits, terms))
    print(f"{case.kind}: {len(found)} questions of {case.set} asked of {case.corpus}", flush=True)
    return found


# ----------------------------------------------------------------------------------------------- fit


def fitted(found: dict[Case, list[Evidence]], *, without: set[str] | None = None) -> Coefficients:
    """Logistic regression of answered against other and absent, each case and each class of equal weight.

    Near misses are left out: telling them apart needs reading, and they would only raise the bar for everybody.
    """
    names = [name for name in ("cosine", "passage", "sentence", "agreement") if name not in (without or set())]
    rows, answers, weights = [], [], []
    for case, evidences in found.items():
        if case.kind == "near":
            continue
        part = [[getattr(each, name) or 0.0 for name in names] for each in evidences[::2]]
        cases = sum(other.kind != "near" and (other.kind == "answered") == (case.kind == "answered") for other in found)
        rows += part
        answers += [float(case.kind == "answered")] * len(part)
        weights += [1000.0 / cases / len(part)] * len(part)
    bias, *slopes = newton(np.array(rows), np.array(answers), np.array(weights))
    return Coefficients(**{"cosine": 0.0, "agreement": 0.0, **dict(zip(names, slopes, strict=True))}, bias=bias)


def newton(rows: Table, answers: Table, weights: Table) -> list[float]:
    """Bias and slopes of a weighted logistic regression with a small ridge, by Newton's method."""
    design = np.column_stack([np.ones(len(rows)), rows])
    slopes = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ slopes))
        gradient = design.T @ (weights * (answers - chance)) - RIDGE * slopes
        curvature = (design * (weights * chance * (1 - chance))[:, None]).T @ design
        slopes = slopes + np.linalg.solve(curvature + RIDGE * np.eye(len(slopes)), gradient)
    return [round(float(each), 2) for each in slopes]


# -------------------------------------------------------------------------------------------- report


def report(found: dict[Case, list[Evidence]], coefficients: Coefficients) -> None:
    """Print, for the questions that were not fitted on, the share refused at each bar, and what that is worth."""
    scores = {
        case: np.array([support.chance(each, coefficients) for each in evidences[1::2]])
        for case, evidences in found.items()
    }
    print(f"\n{'share refused at a bar of':<44}{'n':>5}" + "".join(f"{bar:>7}" for bar in BARS) + f"{'AUC':>8}")
    answered = np.concatenate([each for case, each in scores.items() if case.kind == "answered"])
    for case, values in scores.items():
        line = f"{case.kind}: {case.set} asked of {case.corpus}"
        auc = "" if case.kind == "answered" else f"{area(answered, values):8.3f}"
        print(f"{line:<44}{len(values):>5}" + "".join(f"{np.mean(values < bar):7.3f}" for bar in BARS) + auc)
    kept = scores[next(case for case in scores if case.kind == "answered" and case.set == "clapnq")]
    for kind in ("near", "other", "absent"):
        wrong = np.concatenate([each for case, each in scores.items() if case.kind == kind])
        right = kept if kind == "near" else answered
        for name, row in (
            ("precision", [precision(right, wrong, bar) for bar in BARS]),
            ("recall", [float(np.mean(wrong < bar)) for bar in BARS]),
        ):
            print(f"{name + ' of refusing, ' + kind:<49}" + "".join(f"{each:7.3f}" for each in row))


def precision(answerable: Table, unanswerable: Table, bar: float) -> float:
    """Share of the refusals that are right when both kinds of question come equally often."""
    right, wrong = float(np.mean(unanswerable < bar)), float(np.mean(answerable < bar))
    return right / (right + wrong) if right + wrong else 1.0


def area(answerable: Table, unanswerable: Table) -> float:
    """Area under the ROC curve: how often an answerable question scores above an unanswerable one."""
    difference = answerable[:, None] - unanswerable[None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shipped", action="store_true", help="judge the shipped coefficients instead of fitting")
    asyncio.run(main(parser.parse_args().shipped))
