"""Answers a question with the passages' own sentences: the `Generator` of the embedded mode, without any model.

The pipeline calls it with passages that passed the support check. It picks one to four sentences, list items, table
rows or code blocks that speak most about the question and yields them in reading order, each run with its marker.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from lectern_runtime import sentences
from lectern_runtime.ports import AnswerPiece, CitedSpan, GenerationRequest, Passage
from lectern_runtime.sentences import Unit
from lectern_runtime.terms import Terms

MODEL = "extractive"
# Chosen on 150 answerable questions of clapnq with five passages each: the first pick is a gold sentence in 66 % and
# one of the first three in 86 %. Adding the cosine of each sentence gives 67 % and 91 % for 40 CPU-ms and more a
# question (two thirds of the budget of a whole query), so words and rank decide alone.
HEADING_WEIGHT = 0.5
RANK_WEIGHT = 0.8
MOST_UNITS = 3
LEAST_OF_BEST = 0.85  # a further unit must score this share of the best one's
MOST_ATTACHED = 8  # list items, rows or code blocks that follow a sentence ending in a colon
CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class _Candidate:
    passage: Passage
    position: int
    """Place among the passage's units."""
    unit: Unit
    score: float

    @property
    def place(self) -> tuple[int, int]:
        return self.passage.number, self.position


class ExtractiveGenerator:
    """Picks sentences by the weight of the question's words in them; `language` is ISO 639-1, None for unknown."""

    def __init__(self, language: str | None) -> None:
        self._terms = Terms(language)

    @property
    def model(self) -> str:
        """Name of the model, for the API and the cache key."""
        return MODEL

    async def generate(self, request: GenerationRequest) -> AsyncIterator[AnswerPiece]:
        """Yield a run of adjacent units at a time; nothing when no passage shares a word with the question."""
        passages = sorted(request.passages, key=lambda passage: passage.number)
        units = {passage.number: sentences.units(passage.text) for passage in passages}
        candidates = self._scored(request.question, passages, units)
        picked = _picked(candidates, units, most_characters=request.max_tokens * CHARACTERS_A_TOKEN)
        by_number = {passage.number: passage for passage in passages}
        for index, run in enumerate(_runs(picked)):
            number = run[0][0]
            yield _piece(by_number[number], [units[number][position] for _, position in run], first=index == 0)

    async def close(self) -> None:
        """Release nothing: there is no model."""

    def _scored(self, question: str, passages: Sequence[Passage], units: dict[int, list[Unit]]) -> list[_Candidate]:
        """Every unit that could answer, best first."""
        asked = self._terms.distinct(question)
        read = [
            (passage, position, unit, above, self._terms.distinct(unit.plain))
            for passage in passages
            for position, unit, above in _answering(units[passage.number])
        ]
        rarity = {
            word: math.log(1 + (len(read) - held + 0.5) / (held + 0.5))
            for word in asked
            for held in [sum(word in spoken for *_, spoken in read)]
        }
        total = sum(rarity.values())
        if not total:
            return []
        headings: dict[tuple[str, str], frozenset[str]] = {}
        scored = []
        for passage, position, unit, heading, spoken in read:
            key = (passage.title, heading)
            above = headings.get(key) or headings.setdefault(key, self._terms.distinct(" ".join(key)))
            said = sum(rarity[word] for word in asked & spoken) / total
            titled = sum(rarity[word] for word in (asked & above) - spoken) / total
            if said or titled:
                score = said + HEADING_WEIGHT * titled + RANK_WEIGHT / passage.number
                scored.append(_Candidate(passage, position, unit, score))
        return sorted(scored, key=lambda each: (-each.score, each.place))


def _answering(units: Sequence[Unit]) -> Iterator[tuple[int, Unit, str]]:
    """Units that can answer, with their place and what stands above them: a heading, or a question of the text."""
    above, under = "", ""
    for position, unit in enumerate(units):
        if unit.heading != under:
            above = under = unit.heading
        if unit.plain.endswith("?"):
            above = unit.plain
        elif unit.kind != "heading":
            yield position, unit, above or unit.heading


def _picked(
    candidates: Sequence[_Candidate], units: dict[int, list[Unit]], *, most_characters: int
) -> list[tuple[int, int]]:
    """Places (passage, unit) of the answer in reading order; the best one always, the others while they fit."""
    picked: set[tuple[int, int]] = set()
    said: set[str] = set()
    length = chosen = 0
    for each in candidates:
        if chosen == MOST_UNITS or each.score < LEAST_OF_BEST * candidates[0].score:
            break
        words = each.unit.plain.casefold()
        if each.place in picked or words in said:
            continue
        group = _with_company(each, units[each.passage.number])
        size = sum(len(units[number][position].plain) for number, position in group - picked)
        if picked and length + size > most_characters:
            continue
        picked |= group
        said.add(words)
        length += size
        chosen += 1
    return sorted(picked)


def _with_company(each: _Candidate, units: Sequence[Unit]) -> set[tuple[int, int]]:
    """The unit with what it cannot be read without: what follows its colon, or the line that introduces it."""
    number, position = each.place
    company = {each.place}
    if each.unit.kind == "sentence" and each.unit.plain.endswith(":"):
        following = units[position + 1 : position + 1 + MOST_ATTACHED]
        for offset, unit in enumerate(following, start=1):
            if unit.kind in ("sentence", "heading") or unit.kind != following[0].kind:
                break
            company.add((number, position + offset))
            if unit.kind == "code":
                break
    elif each.unit.kind != "sentence" and position and units[position - 1].plain.endswith(":"):
        company.add((number, position - 1))
    return company


def _runs(places: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Neighbouring units of one passage together."""
    runs: list[list[tuple[int, int]]] = []
    for number, position in places:
        if runs and runs[-1][-1] == (number, position - 1):
            runs[-1].append((number, position))
        else:
            runs.append([(number, position)])
    return runs


def _piece(passage: Passage, run: Sequence[Unit], *, first: bool) -> AnswerPiece:
    """The run as Markdown with its marker at the end; lists, rows and code stand on lines of their own."""
    text = ""
    before: Unit | None = None
    for unit in run:
        same_block = before is not None and before.block == unit.block and unit.kind != "row"
        shown = f"- {unit.plain}" if unit.kind in ("item", "row") and len(run) > 1 and not same_block else unit.plain
        prose = same_block or (unit.kind == "sentence" and not text.endswith("```"))
        text += ("" if before is None else " " if prose else "\n") + shown
        before = unit
    marker = f"[{passage.number}]"
    text += f"\n{marker}" if text.endswith("```") else f" {marker}"
    cites = tuple(CitedSpan(passage.number, unit.start, unit.end) for unit in run)
    return AnswerPiece(("" if first else "\n\n") + text, cites)
