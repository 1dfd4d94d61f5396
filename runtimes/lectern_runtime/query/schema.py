"""What the query API takes and gives, as pydantic models: the source of `docs/reference/openapi.json`.

Routes validate bodies with these; unknown fields, wrong types and values out of bounds are refused before anything
else happens.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

MAX_BODY_BYTES = 64 * 1024
MAX_QUESTION = 8_000
MAX_TOP_K = 100
MAX_FILTERS = 16
MAX_FILTER_VALUES = 32
MAX_MESSAGES = 64


def _readable(text: str) -> str:
    if not text.strip():
        raise ValueError("must hold something besides white space")
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not hold NUL characters or halves of surrogate pairs")
    return text


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


Question = Annotated[StrictStr, Field(min_length=1, max_length=MAX_QUESTION), AfterValidator(_readable)]
FilterText = Annotated[StrictStr, Field(max_length=256)]
FilterNumber = Annotated[StrictInt, Field(ge=-(1 << 53), le=1 << 53)]
FilterItem = StrictBool | FilterNumber | FilterText
FilterItems = Annotated[list[FilterItem], Field(min_length=1, max_length=MAX_FILTER_VALUES)]
FilterName = Annotated[StrictStr, Field(min_length=1, max_length=64)]
Filters = Annotated[
    dict[FilterName, FilterItem | FilterItems],
    Field(
        default_factory=dict,
        max_length=MAX_FILTERS,
        description="Declared metadata fields that a passage must have, each with one value or one of several.",
    ),
]
TopK = Annotated[
    StrictInt | None,
    Field(default=None, ge=1, le=MAX_TOP_K, description="Passages to use; left out means the endpoint's own number."),
]


class QueryBody(_Request):
    """A question to answer."""

    question: Question = Field(description="The question in words.")
    top_k: TopK
    filters: Filters
    stream: StrictBool = Field(default=False, description="Whether the answer comes as server-sent events.")


class RetrieveBody(_Request):
    """A question to find passages for."""

    query: Question = Field(description="What to look for, in words.")
    top_k: TopK
    filters: Filters


class ScoresBody(_Response):
    """Scores of a passage, higher is better; null where that search did not return it."""

    dense: float | None = Field(description="Cosine of question and passage, -1 to 1.")
    sparse: float | None = Field(description="BM25 score, from 0.")
    fused: float | None = Field(description="Sum of reciprocal ranks.")
    rerank: float | None = Field(description="Score of the reranker, 0 to 1.")


class HitBody(_Response):
    """A passage that was found. `start` and `end` count characters of the document's parsed text."""

    document_id: str
    uri: str
    title: str
    text: str
    page: int | None
    section: str
    start: int
    end: int
    scores: ScoresBody
    partition: str = Field(description="Tenant and access level that the passage belongs to, joined by a slash.")
    knowledge_base: str
    generation: int | None = Field(description="Number of the index generation, where its name tells it.")


class SpanBody(_Response):
    """Characters [start, end) of a citation's `text`."""

    start: int
    end: int


class CitationBody(HitBody):
    """A passage that the answer rests on. `spans` are the characters of `text` that it uses."""

    number: int = Field(description="The number in brackets that marks it in the answer.")
    spans: list[SpanBody]


CacheTier = Literal["miss", "exact", "shared", "off"]
Timings = Annotated[dict[str, float], Field(description="Milliseconds by stage, and in total.")]


Degradations = Annotated[
    list[str],
    Field(
        description="What was left out: `no_index:<knowledge base>`, `not_searched:<knowledge base>`, "
        "`question_cut_for_embedding`, and `not_reranked:late` or `not_reranked:failed` where the order is that of the "
        "searches."
    ),
]


class AnswerBody(_Response):
    """An answer with what it rests on."""

    answer: str
    citations: list[CitationBody]
    refused: bool = Field(description="Whether the documents do not support an answer.")
    confidence: float = Field(description="Estimated probability that the passages answer the question, 0 to 1.")
    degraded: bool = Field(description="Whether something was left out because a part did not answer in time.")
    degradations: Degradations
    cache: CacheTier = Field(
        description="Where the answer came from; `shared` with an identical question at the same time."
    )
    timings: Timings


class PieceBody(_Response):
    """The next piece of a streamed answer (event `piece`), with the citations that it is the first to use."""

    text: str
    citations: list[CitationBody]


class RetrieveAnswer(_Response):
    """The passages that were found, best first."""

    hits: list[HitBody]
    degraded: bool
    degradations: Degradations
    timings: Timings
