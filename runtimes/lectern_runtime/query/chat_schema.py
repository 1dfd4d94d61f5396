"""The part of OpenAI's chat API that the endpoint speaks, as pydantic models.

Parameters that steer a language model's sampling are accepted, so that existing clients work, and have no effect on
extractive answers; what would change the meaning of the answer (several choices, tools, images) is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, model_validator

from lectern_runtime.query.schema import MAX_MESSAGES, CacheTier, CitationBody, Filters, Question, Timings, TopK

MAX_ANSWER_TOKENS = 4096
FinishReason = Literal["stop", "length"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(_Request):
    """A part of a message; only text can be asked."""

    type: Literal["text"]
    text: Annotated[StrictStr, Field(max_length=64_000)]


class Message(_Request):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[StrictStr, Field(max_length=64_000)] | Annotated[list[TextPart], Field(max_length=64)]
    name: StrictStr | None = Field(default=None, max_length=64)

    @property
    def text(self) -> str:
        """The message as one string."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(_Request):
    """What a stream holds besides the answer."""

    include_usage: StrictBool = False


class LecternOptions(_Request):
    """What this API has beyond OpenAI's, under the field `lectern`."""

    top_k: TopK = None
    filters: Filters = Field(default_factory=dict)


class _Asked(_Request):
    question: Question


class ChatBody(_Request):
    """A conversation whose last message is the user's question."""

    model: Annotated[StrictStr, Field(max_length=253)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_ANSWER_TOKENS)] | None = None
    max_completion_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_ANSWER_TOKENS)] | None = None
    n: Literal[1] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: StrictInt | None = None
    stop: StrictStr | list[StrictStr] | None = None
    user: Annotated[StrictStr, Field(max_length=256)] | None = None
    metadata: dict[str, str] | None = None
    store: StrictBool | None = None
    lectern: LecternOptions = Field(default_factory=LecternOptions)

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> ChatBody:
        if self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's: it is the question")
        _Asked(question=self.messages[-1].text)
        return self

    @property
    def question(self) -> str:
        """The last message."""
        return self.messages[-1].text


class LecternExtension(BaseModel):
    """What an answer has beyond OpenAI's fields, under `lectern`."""

    citations: list[CitationBody]
    refused: bool
    confidence: float
    degraded: bool
    degradations: list[str]
    cache: CacheTier
    timings: Timings


class Usage(BaseModel):
    """Tokens of the embedding model: question and passages given, and the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(BaseModel):
    """The answer as a message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The only choice."""

    index: Literal[0] = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: FinishReason


class Completion(BaseModel):
    """An answer in OpenAI's shape."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    lectern: LecternExtension


class Delta(BaseModel):
    """What is new since the chunk before."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """The only choice of a chunk."""

    index: Literal[0] = 0
    delta: Delta
    logprobs: None = None
    finish_reason: FinishReason | None = None


class Chunk(BaseModel):
    """A piece of a streamed answer in OpenAI's shape; the last one with a choice carries `lectern`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    lectern: LecternExtension | None = None

    def shown(self) -> dict[str, Any]:
        """The chunk as JSON: absent parts of the delta and absent extensions are left out, as OpenAI does."""
        data = self.model_dump()
        for choice in data["choices"]:
            choice["delta"] = {key: value for key, value in choice["delta"].items() if value is not None}
        return {key: value for key, value in data.items() if value is not None}


class Model(BaseModel):
    """A model that can be asked: the endpoint itself."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["lectern"] = "lectern"


class Models(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[Model]
