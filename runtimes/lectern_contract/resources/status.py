"""What the operator (or `lectern up`) says about a resource: conditions, components and the last run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from lectern_contract.reports import RunMode
from lectern_contract.resources.common import Rule, unique
from lectern_contract.resources.reasons import ConditionType, Reason


class StatusModel(BaseModel):
    """Base of every object below `status`: camelCase outside, unknown fields of newer writers ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)
    rules: ClassVar[tuple[Rule, ...]] = ()


S = TypeVar("S", bound=StatusModel)


def readable(model: type[S], said: Mapping[str, Any]) -> S:
    """Return what a status says as far as this release can read it; fields of another shape count as not said.

    The others stay: some, such as the index generation that is in use, are remembered nowhere else.
    """
    given = dict(said)
    while True:
        try:
            return model.model_validate(given)
        except ValidationError as error:
            wrong = {fault["loc"][0] for fault in error.errors(include_url=False) if fault["loc"]} & given.keys()
            if not wrong:
                raise
            given = {key: value for key, value in given.items() if key not in wrong}


class Condition(StatusModel):
    """One observed aspect, in the shape that `kubectl wait` and kstatus read."""

    type: ConditionType | str = Field(description="Aspect that is described.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Reason | str = Field(description="Why, as one word of the reference.")
    message: str = Field(default="", max_length=1024, description="Why, as a sentence with the next step.")
    last_transition_time: str = Field(description="When `status` last changed, RFC 3339 in UTC.")
    observed_generation: int = Field(ge=0, description="Generation of the spec that was looked at.")


class Component(StatusModel):
    """One child that carries part of the work."""

    name: str = Field(description="Name of the child object.")
    kind: str = Field(description="Kind of the child object.")
    ready: bool = Field(description="Whether it does its work now.")
    message: str = Field(default="", max_length=256, description="What it is waiting for.")


class PartitionState(StatusModel):
    """One partition of the index and where its points lie."""

    name: str = Field(
        max_length=127, description="`tenant/accessLevel`, or the tenant where a shard key stands for it."
    )
    shard_key: str = Field(max_length=253, description="Shard key that its points are written with.")
    placement: Literal["Dedicated", "Shared", "Promoting"] = Field(
        description="Shards of its own, the shared fallback shard, or on the way from one to the other."
    )


class Endpoint(StatusModel):
    """One address that the resource answers at."""

    name: str = Field(max_length=63, description="What answers there, as a role or a route.")
    url: str = Field(max_length=2048, description="Where it answers.")


class DocumentCounts(StatusModel):
    """Documents of one knowledge base by state, as the catalogue in the store tells."""

    indexed: int = Field(default=0, ge=0, description="Documents that can be found.")
    failed: int = Field(default=0, ge=0, description="Documents that could not be indexed.")


class SourceDocuments(StatusModel):
    """Documents of one source by state, as the catalogue in the store tells."""

    name: str = Field(max_length=63, description="Name of the IngestionSource, which may be gone.")
    indexed: int = Field(default=0, ge=0, description="Documents that can be found.")
    failed: int = Field(default=0, ge=0, description="Documents that could not be indexed.")
    failed_since: str | None = Field(
        default=None, description="Since when some have failed without a break, as it was noticed; RFC 3339 in UTC."
    )
    last_reason: str = Field(default="", max_length=64, description="Why one of the newest failed, in one word.")


class DeadLetters(StatusModel):
    """Documents of one source that the workers gave up, and that nobody has mended, dropped or deleted since."""

    count: int = Field(ge=0, description="How many are open.")
    since: str | None = Field(
        default=None, description="Since when some have been open without a break, as it was noticed; RFC 3339 in UTC."
    )
    last_reason: str = Field(default="", max_length=64, description="Why one of the newest was given up, in one word.")


class LastRun(StatusModel):
    """What one run of a connector did."""

    started_at: str = Field(description="Start, RFC 3339 in UTC.")
    finished_at: str | None = Field(default=None, description="End, RFC 3339 in UTC; absent while it runs.")
    job: str | None = Field(default=None, max_length=253, description="Name of the Job; absent in embedded mode.")
    settings_hash: str | None = Field(
        default=None, max_length=64, description="Hash of the settings that the run had; absent in embedded mode."
    )
    mode: RunMode = Field(default=RunMode.SYNC, description="What the run was to do.")
    result: Literal["Running", "Succeeded", "Failed"] = Field(description="How it ended.")
    listed: int = Field(default=0, ge=0, description="Documents that the source has.")
    published: int = Field(default=0, ge=0, description="Documents that were new or changed.")
    deleted: int = Field(default=0, ge=0, description="Documents that were gone.")
    unchanged: int = Field(default=0, ge=0, description="Documents that needed nothing.")
    failed: int = Field(default=0, ge=0, description="Documents that could not be read.")
    message: str = Field(default="", max_length=1024, description="First failures, shortened.")


class KnowledgeBaseStatus(StatusModel):
    """Observed state of a KnowledgeBase."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec that was acted on.")
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16, description="Conditions by type.")
    active_generation: int | None = Field(default=None, ge=1, description="Index generation that answers queries.")
    index_identity: str | None = Field(
        default=None, max_length=64, description="Digest of the settings that the answering index was built for."
    )
    documents: DocumentCounts | None = Field(default=None, description="Documents by state.")
    sources: tuple[SourceDocuments, ...] = Field(
        default=(), max_length=100, description="Documents of the first sources that have any, by name."
    )
    source_count: int | None = Field(default=None, ge=0, description="How many sources have documents, in all.")
    partitions: tuple[PartitionState, ...] = Field(
        default=(), max_length=64, description="The first partitions that have been made, by tenant."
    )
    partition_count: int | None = Field(default=None, ge=0, description="How many partitions there are in all.")
    endpoints: tuple[Endpoint, ...] = Field(default=(), max_length=8, description="Addresses of the model server.")
    components: tuple[Component, ...] = Field(default=(), max_length=16, description="Children and their state.")

    rules: ClassVar[tuple[Rule, ...]] = (
        unique("conditions", "type"),
        unique("components", "kind", "name"),
        unique("sources", "name"),
        unique("partitions", "name"),
        unique("endpoints", "name"),
    )


class IngestionSourceStatus(StatusModel):
    """Observed state of an IngestionSource."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec that was acted on.")
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16, description="Conditions by type.")
    last_run: LastRun | None = Field(default=None, description="The newest run that was no replay.")
    last_replay: LastRun | None = Field(
        default=None, description="The newest replay: `listed` counts dead letters, `published` those said again."
    )
    documents: DocumentCounts | None = Field(
        default=None, description="Documents by state, as the knowledge base tells; absent when nobody knows."
    )
    dead_letter: DeadLetters | None = Field(
        default=None, description="Documents that the workers gave up; absent when nobody knows."
    )
    last_handled_sync_request: str | None = Field(
        default=None, max_length=256, description="Value of the `sync-requested-at` annotation that was answered."
    )
    last_handled_full_resync_request: str | None = Field(
        default=None,
        max_length=256,
        description="Value of the `full-resync-requested-at` annotation that was answered.",
    )
    last_handled_replay_request: str | None = Field(
        default=None, max_length=256, description="Value of the `replay-requested-at` annotation that was answered."
    )
    url: str | None = Field(default=None, max_length=512, description="Where a push source takes documents.")
    components: tuple[Component, ...] = Field(default=(), max_length=16, description="Children and their state.")

    rules: ClassVar[tuple[Rule, ...]] = (unique("conditions", "type"), unique("components", "kind", "name"))


class RagEndpointStatus(StatusModel):
    """Observed state of a RagEndpoint."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec that was acted on.")
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16, description="Conditions by type.")
    url: str | None = Field(default=None, max_length=512, description="Where the query API answers.")
    endpoints: tuple[Endpoint, ...] = Field(
        default=(), max_length=8, description="Addresses: the query API, its routes from outside, the model servers."
    )
    components: tuple[Component, ...] = Field(default=(), max_length=16, description="Children and their state.")

    rules: ClassVar[tuple[Rule, ...]] = (
        unique("conditions", "type"),
        unique("components", "kind", "name"),
        unique("endpoints", "name"),
    )
