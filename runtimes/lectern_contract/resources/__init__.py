"""The three kinds as pydantic models: the single source of CRDs, defaults and the reference.

`parse` turns one document (a YAML mapping or an object of the API server) into a resource or raises
`ResourceInvalid` naming the field. Used by the operator, by `lectern up` and by every test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from lectern_contract.errors import ResourceInvalid
from lectern_contract.resources.common import (
    API_VERSION,
    DNS_LABEL,
    GROUP,
    NAME_LENGTH,
    VERSION,
    PrinterColumn,
    ResourceName,
    Rule,
    SpecModel,
    without_nulls,
)
from lectern_contract.resources.ingestion_source import IngestionSourceSpec
from lectern_contract.resources.knowledge_base import KnowledgeBaseSpec
from lectern_contract.resources.rag_endpoint import RagEndpointSpec
from lectern_contract.resources.status import (
    IngestionSourceStatus,
    KnowledgeBaseStatus,
    RagEndpointStatus,
    readable,
)

CATEGORY = "lectern"
READY = '.status.conditions[?(@.type=="Ready")]'
_READY_COLUMN = PrinterColumn("Ready", "string", f"{READY}.status", "Whether the resource does its work.")
_REASON_COLUMN = PrinterColumn("Reason", "string", f"{READY}.reason", "Why it is ready or not.")
_MESSAGE_COLUMN = PrinterColumn("Message", "string", f"{READY}.message", "The reason as a sentence.", priority=1)
_AGE_COLUMN = PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since creation.")


class Metadata(BaseModel):
    """What is read of an object's metadata; the rest belongs to Kubernetes."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    name: ResourceName
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class Resource(BaseModel):
    """One object of a Lectern kind: metadata, spec and what was observed of it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    kind_name: ClassVar[str]
    plural: ClassVar[str]
    short_name: ClassVar[str]
    columns: ClassVar[tuple[PrinterColumn, ...]]
    rules: ClassVar[tuple[Rule, ...]] = (
        # The model says it by the type of `Metadata.name`. No `field`: the server takes no path into metadata.
        Rule(
            cel=f"size(self.metadata.name) <= {NAME_LENGTH} && self.metadata.name.matches('{DNS_LABEL}')",
            message="metadata.name must be a DNS label that starts with a letter "
            f"and has at most {NAME_LENGTH} characters",
        ),
    )

    metadata: Metadata

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The object's namespace."""
        return self.metadata.namespace


class KnowledgeBase(Resource):
    """One corpus and everything that turns its documents into an index."""

    kind_name = "KnowledgeBase"
    plural = "knowledgebases"
    short_name = "kb"
    columns = (
        _READY_COLUMN,
        _REASON_COLUMN,
        PrinterColumn("Model", "string", ".spec.embedding.model", "Embedding model."),
        PrinterColumn("Generation", "integer", ".status.activeGeneration", "Index generation that answers."),
        _MESSAGE_COLUMN,
        _AGE_COLUMN,
    )

    spec: KnowledgeBaseSpec
    status: KnowledgeBaseStatus = Field(default_factory=KnowledgeBaseStatus)


class IngestionSource(Resource):
    """One source of documents for one knowledge base."""

    kind_name = "IngestionSource"
    plural = "ingestionsources"
    short_name = "isrc"
    columns = (
        _READY_COLUMN,
        _REASON_COLUMN,
        PrinterColumn("KnowledgeBase", "string", ".spec.knowledgeBaseRef", "Knowledge base that is fed."),
        PrinterColumn("Last Run", "string", ".status.lastRun.result", "Result of the newest run."),
        _MESSAGE_COLUMN,
        _AGE_COLUMN,
    )

    spec: IngestionSourceSpec
    status: IngestionSourceStatus = Field(default_factory=IngestionSourceStatus)


class RagEndpoint(Resource):
    """One query API over one or more knowledge bases."""

    kind_name = "RagEndpoint"
    plural = "ragendpoints"
    short_name = "rag"
    columns = (
        _READY_COLUMN,
        _REASON_COLUMN,
        PrinterColumn("URL", "string", ".status.url", "Where the query API answers."),
        _MESSAGE_COLUMN,
        _AGE_COLUMN,
    )

    spec: RagEndpointSpec
    status: RagEndpointStatus = Field(default_factory=RagEndpointStatus)


KINDS: dict[str, type[KnowledgeBase] | type[IngestionSource] | type[RagEndpoint]] = {
    "IngestionSource": IngestionSource,
    "KnowledgeBase": KnowledgeBase,
    "RagEndpoint": RagEndpoint,
}

R = TypeVar("R", bound=Resource)
AnyResource = KnowledgeBase | IngestionSource | RagEndpoint


def parse(document: Mapping[str, Any]) -> AnyResource:
    """Turn one document into a resource; raise `ResourceInvalid` with the first fault's field and cause."""
    kind, api_version = document.get("kind"), document.get("apiVersion")
    metadata = document.get("metadata")
    name = metadata.get("name", "?") if isinstance(metadata, Mapping) else "?"
    label = f"{kind}/{name}"
    if api_version != API_VERSION:
        raise ResourceInvalid(
            f"{label}: apiVersion is {api_version!r}; write {API_VERSION}", resource=label, field="apiVersion"
        )
    model = KINDS.get(str(kind))
    if model is None:
        raise ResourceInvalid(
            f"{label}: unknown kind {kind!r}; {GROUP} has {', '.join(KINDS)}", resource=label, field="kind"
        )
    body = {key: value for key, value in document.items() if key not in ("kind", "apiVersion")}
    try:
        return model.model_validate_json(json.dumps(without_nulls(body, model)), by_alias=True, by_name=False)
    except (TypeError, ValueError) as error:
        if isinstance(error, ValidationError):
            raise _invalid(label, error) from error
        raise ResourceInvalid(
            f"{label}: {error}; put dates and other special values in quotes", resource=label, field="spec"
        ) from error


def parse_as(model: type[R], document: Mapping[str, Any]) -> R:
    """`parse`, for a caller that knows the kind."""
    resource = parse(document)
    if not isinstance(resource, model):
        raise ResourceInvalid(
            f"expected a {model.kind_name}, got {document.get('kind')!r}", resource=resource.name, field="kind"
        )
    return resource


def parse_stored(document: Mapping[str, Any]) -> AnyResource:
    """`parse`, for an object of the API server: its status may be that of another release (see `status.readable`)."""
    resource = parse({key: value for key, value in document.items() if key != "status"})
    said = document.get("status") or {}
    return resource.model_copy(update={"status": readable(type(resource.status), said)})


def check_update(old: AnyResource, new: AnyResource) -> None:
    """Raise `ResourceInvalid` when `new` changes what `old` fixed for the life of the resource."""
    label = f"{new.kind_name}/{new.name}"
    for path, message in _changes(old.spec, new.spec, "spec"):
        raise ResourceInvalid(f"{label}: {path}: {message}", resource=label, field=path)


def _changes(old: SpecModel, new: SpecModel, path: str) -> Iterator[tuple[str, str]]:
    """Broken transition rules, outermost first. As on the API server, they hold between two present objects."""
    for rule in type(new).rules:
        if rule.kept is not None and not rule.kept(old, new):
            yield f"{path}.{rule.field}", rule.message
    for name, field in type(new).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, SpecModel) and isinstance(after, SpecModel):
            yield from _changes(before, after, f"{path}.{field.alias or name}")


def _invalid(label: str, error: ValidationError) -> ResourceInvalid:
    """The first fault as a sentence: field path, cause, and how many more there are."""
    faults = error.errors(include_url=False, include_input=False)
    first = faults[0]
    parts, cause = first["loc"], first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        cause = "unknown field; remove it, or check its spelling"
    elif first["type"] == "missing":
        cause = "required; set it"
    elif first["type"] == "rule":
        parts = (*parts, *first["ctx"]["field"].split("."))
    elif parts[-1] == "[key]":
        parts, cause = parts[:-2], f"key {parts[-2]!r}: {cause}"
    field = _path(parts)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return ResourceInvalid(f"{label}: {field}: {cause}{more}", resource=label, field=field)


def _path(parts: tuple[int | str, ...]) -> str:
    """`("spec", "tenants", 0, "name")` as `spec.tenants[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.strip(".") or "spec"


__all__ = [
    "API_VERSION",
    "CATEGORY",
    "GROUP",
    "KINDS",
    "VERSION",
    "AnyResource",
    "IngestionSource",
    "KnowledgeBase",
    "Metadata",
    "RagEndpoint",
    "Resource",
    "check_update",
    "parse",
    "parse_as",
    "parse_stored",
]
