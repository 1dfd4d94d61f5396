"""What callers send and get, as JSON in snake_case; unknown fields are faults."""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import pydantic_core
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lectern_contract.payload import MetadataValue
from lectern_contract.resources.common import FieldName

MAX_DOCUMENTS = 100
MAX_URIS = 1_000
MAX_URI = 4096
MAX_LISTED = 1_000
_MAX_FIELDS = 32
_MAX_VALUE = 1024
_MAX_NUMBER = 1 << 53
_NOT_IN_URIS = ("Cc", "Cs", "Zl", "Zp")
_Model = TypeVar("_Model", bound=BaseModel)


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PartitionBody(_Asked):
    """Who may read a document."""

    tenant: str = Field(min_length=1, max_length=63)
    access_level: str = Field(min_length=1, max_length=63)


def checked_uri(uri: str) -> str:
    """`uri` if it can name a document; raises `ValueError` with the reason."""
    if not 0 < len(uri) <= MAX_URI:
        raise ValueError(f"a uri has 1 to {MAX_URI} characters")
    if uri != uri.strip() or any(unicodedata.category(each) in _NOT_IN_URIS for each in uri):
        raise ValueError("a uri has no white space around it and no control characters")
    if any(part in (".", "..") for part in uri.split("/")):
        raise ValueError("a uri has no parts that are . or ..")
    return uri


Uri = Annotated[str, Field(min_length=1, max_length=MAX_URI)]


class PushedDocument(_Asked):
    """A document with its content, either as text or as base64 of its bytes."""

    uri: Uri
    title: str = Field(default="", max_length=512)
    text: str | None = None
    content_base64: str | None = None
    media_type: str = Field(min_length=3, max_length=127)
    partition: PartitionBody | None = Field(
        default=None,
        description="Left out, the source's rules decide; the caller must have the right to it either way.",
    )
    metadata: dict[FieldName, MetadataValue] = Field(
        default_factory=dict,
        max_length=_MAX_FIELDS,
        description="Fields that the source itself sets stand above these.",
    )

    @field_validator("uri")
    @classmethod
    def _uri(cls, uri: str) -> str:
        return checked_uri(uri)

    @field_validator("metadata")
    @classmethod
    def _metadata(cls, metadata: dict[str, MetadataValue]) -> dict[str, MetadataValue]:
        for name, value in metadata.items():
            if isinstance(value, str) and len(value) > _MAX_VALUE:
                raise ValueError(f"{name} has more than {_MAX_VALUE} characters")
            if isinstance(value, int) and abs(value) > _MAX_NUMBER:
                raise ValueError(f"{name} is beyond 2^53")
        return metadata

    @model_validator(mode="after")
    def _one_content(self) -> PushedDocument:
        if (self.text is None) == (self.content_base64 is None):
            raise ValueError("give one of text and content_base64")
        return self


class PushedDocuments(_Asked):
    """Several documents."""

    documents: list[PushedDocument] = Field(min_length=1, max_length=MAX_DOCUMENTS)


class DeletedUris(_Asked):
    """Documents to delete."""

    uris: list[Uri] = Field(min_length=1, max_length=MAX_URIS)

    @field_validator("uris")
    @classmethod
    def _uris(cls, uris: list[str]) -> list[str]:
        return [checked_uri(uri) for uri in uris]


@dataclass(frozen=True, slots=True)
class Pushed:
    """A document as it came, with its bytes."""

    document: PushedDocument
    data: bytes


class ListQuery(BaseModel):
    """What to list."""

    model_config = ConfigDict(extra="forbid")

    uri: str | None = Field(default=None, max_length=MAX_URI, description="This document alone.")
    prefix: str = Field(default="", max_length=MAX_URI, description="Uris that begin with this.")
    after: str = Field(default="", max_length=MAX_URI, description="Uris behind this one, as `next` of a page says.")
    limit: int = Field(default=100, ge=1, le=MAX_LISTED)


class Result(BaseModel):
    """What became of one document of a request."""

    uri: str
    result: Literal["accepted", "unchanged", "rejected"]
    reason: str | None = Field(default=None, description="Why it is rejected, one stable word.")
    detail: str | None = None
    document_id: str | None = None


class Accepted(BaseModel):
    """A request that was taken: what is accepted is durable, and the run tells when it can be found."""

    run_id: str
    accepted: int
    unchanged: int
    rejected: int
    results: list[Result]


class DocumentBody(BaseModel):
    """A document that the source holds."""

    uri: str
    sha256: str
    size: int
    media_type: str
    title: str
    partition: PartitionBody
    metadata: dict[str, MetadataValue]


class DocumentList(BaseModel):
    """A page of documents in order of uri; `next` is what to give as `after` for the page behind it."""

    documents: list[DocumentBody]
    next: str | None


class RunDocumentBody(Result):
    """One document of a run: `state` says what the index shows of it."""

    state: Literal["queued", "done", "failed"]


class RunBody(BaseModel):
    """One request after it was accepted."""

    id: str
    state: Literal["queued", "running", "done", "failed"]
    created_at: str
    accepted: int
    unchanged: int
    rejected: int
    waiting: int
    failed: int
    documents: list[RunDocumentBody]


def pushed(body: bytes) -> list[Pushed]:
    """The documents in a body, one or many, with their bytes. Raises `RequestValidationError` naming the fields."""
    value = _json(body)
    many = isinstance(value, dict) and "documents" in value
    documents = _valid(PushedDocuments, value).documents if many else [_valid(PushedDocument, value)]
    found, faults = [], []
    for number, document in enumerate(documents):
        place = ("body", "documents", number) if many else ("body",)
        try:
            found.append(Pushed(document, _content(document)))
        except (ValueError, binascii.Error):
            loc = (*place, "content_base64" if document.text is None else "text")
            faults.append({"type": "value_error", "loc": loc, "msg": "it is not what its name says"})
    if faults:
        raise RequestValidationError(faults)
    return found


def deleted(body: bytes) -> list[str]:
    """The uris in a body. Raises `RequestValidationError`."""
    return list(_valid(DeletedUris, _json(body)).uris)


def _content(document: PushedDocument) -> bytes:
    if document.text is not None:
        return document.text.encode()
    return base64.b64decode(document.content_base64 or "", validate=True)


def _json(body: bytes) -> Any:
    try:
        return pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": "not JSON"}]) from error


def _valid(model: type[_Model], value: Any) -> _Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults: Sequence[Any] = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in faults]) from error
