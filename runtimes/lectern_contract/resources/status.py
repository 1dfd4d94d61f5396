"""What the operator (or `lectern up`) says about a resource: conditions, components and the last run.

Condition types and reasons are enums, one pair per kind, and are documented in the generated
reference. The policies choose among them; nothing else invents a condition.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from lectern_contract.resources.common import Rule, unique


class StatusModel(BaseModel):
    """Base of every object below `status`: camelCase outside, unknown fields of newer writers ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)
    rules: ClassVar[tuple[Rule, ...]] = ()


class ConditionType(StrEnum):
    """Condition types of all kinds; each kind always shows the subset that `CONDITIONS` names."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SPEC_HONORED = "SpecHonored"
    EMBEDDING_READY = "EmbeddingReady"
    WORKERS_READY = "WorkersReady"
    SCALER_READY = "ScalerReady"
    KNOWLEDGE_BASE_FOUND = "KnowledgeBaseFound"
    SYNCED = "Synced"
    QUERY_READY = "QueryReady"


class Reason(StrEnum):
    """Reasons of all conditions, with what each tells the reader in `REASON_TEXT`."""

    AS_SPECIFIED = "AsSpecified"
    ALL_COMPONENTS_READY = "AllComponentsReady"
    COMPONENT_NOT_READY = "ComponentNotReady"
    PROGRESSING = "Progressing"
    STABLE = "Stable"
    INVALID_SPEC = "InvalidSpec"
    NOT_ON_CLUSTER = "NotOnCluster"
    FIELDS_NOT_READ = "FieldsNotRead"
    DEPLOYMENT_AVAILABLE = "DeploymentAvailable"
    DEPLOYMENT_PROGRESSING = "DeploymentProgressing"
    DEPLOYMENT_FAILED = "DeploymentFailed"
    EXTERNAL_SERVER = "ExternalServer"
    IN_PROCESS = "InProcess"
    SUSPENDED = "Suspended"
    SCALER_ACTIVE = "ScalerActive"
    SCALER_NOT_NEEDED = "ScalerNotNeeded"
    KEDA_NOT_INSTALLED = "KedaNotInstalled"
    SCALER_REJECTED = "ScalerRejected"
    KNOWLEDGE_BASE_EXISTS = "KnowledgeBaseExists"
    KNOWLEDGE_BASE_MISSING = "KnowledgeBaseMissing"
    NEVER_RUN = "NeverRun"
    RUNNING = "Running"
    RUN_SUCCEEDED = "RunSucceeded"
    RUN_FAILED = "RunFailed"
    SCHEDULED = "Scheduled"
    APPLY_REFUSED = "ApplyRefused"
    UNKNOWN = "Unknown"


REASON_TEXT: dict[Reason, str] = {
    Reason.AS_SPECIFIED: "Every field of the spec that is set is acted on.",
    Reason.ALL_COMPONENTS_READY: "Everything that the resource needs is ready.",
    Reason.COMPONENT_NOT_READY: "A component is not ready; the message names it.",
    Reason.PROGRESSING: "Children were changed, or have not reached the wanted state yet.",
    Reason.STABLE: "Nothing is left to do for this generation of the spec.",
    Reason.INVALID_SPEC: "The spec breaks a rule; the message names the field. Running workloads are left as they are.",
    Reason.NOT_ON_CLUSTER: "The spec fits the embedded mode only; the message names what to set for a cluster.",
    Reason.FIELDS_NOT_READ: "The spec sets fields that this release does not act on yet; the message names them.",
    Reason.DEPLOYMENT_AVAILABLE: "The Deployment has its wanted replicas available.",
    Reason.DEPLOYMENT_PROGRESSING: "The Deployment is rolling out.",
    Reason.DEPLOYMENT_FAILED: "The Deployment cannot make progress; the message carries Kubernetes' own reason.",
    Reason.EXTERNAL_SERVER: "A server outside is used; it is not managed here.",
    Reason.IN_PROCESS: "The work is done inside this process (embedded mode).",
    Reason.SUSPENDED: "`spec.suspend` is true: nothing is written until it is false again.",
    Reason.SCALER_ACTIVE: "The ScaledObject exists and KEDA accepted it.",
    Reason.SCALER_NOT_NEEDED: "`minReplicas` equals `maxReplicas`, so that nothing has to scale.",
    Reason.KEDA_NOT_INSTALLED: "The kind ScaledObject is not known to the API server.",
    Reason.SCALER_REJECTED: "KEDA reports that the ScaledObject cannot work; the message carries its words.",
    Reason.KNOWLEDGE_BASE_EXISTS: "The knowledge bases that the resource names exist.",
    Reason.KNOWLEDGE_BASE_MISSING: "A knowledge base that the resource names does not exist in its namespace.",
    Reason.NEVER_RUN: "No run has been asked for yet.",
    Reason.RUNNING: "A run is under way.",
    Reason.RUN_SUCCEEDED: "The last run finished and every document was handed over.",
    Reason.RUN_FAILED: "The last run failed or left documents behind; the message says which and why.",
    Reason.SCHEDULED: "The next run is in the hands of the CronJob.",
    Reason.APPLY_REFUSED: "The API server refused a child, or its name is taken; the message carries its words.",
    Reason.UNKNOWN: "The fact could not be read yet.",
}

CONDITIONS: dict[str, tuple[ConditionType, ...]] = {
    "KnowledgeBase": (
        ConditionType.READY,
        ConditionType.RECONCILING,
        ConditionType.STALLED,
        ConditionType.SPEC_HONORED,
        ConditionType.EMBEDDING_READY,
        ConditionType.WORKERS_READY,
        ConditionType.SCALER_READY,
    ),
    "IngestionSource": (
        ConditionType.READY,
        ConditionType.RECONCILING,
        ConditionType.STALLED,
        ConditionType.SPEC_HONORED,
        ConditionType.KNOWLEDGE_BASE_FOUND,
        ConditionType.SYNCED,
    ),
    "RagEndpoint": (
        ConditionType.READY,
        ConditionType.RECONCILING,
        ConditionType.STALLED,
        ConditionType.SPEC_HONORED,
        ConditionType.KNOWLEDGE_BASE_FOUND,
        ConditionType.QUERY_READY,
    ),
}


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


class DocumentCounts(StatusModel):
    """Documents of one knowledge base by state, as the catalogue in the store tells."""

    indexed: int = Field(default=0, ge=0, description="Documents that can be found.")
    failed: int = Field(default=0, ge=0, description="Documents that could not be indexed.")


class LastRun(StatusModel):
    """What one run of a connector did."""

    started_at: str = Field(description="Start, RFC 3339 in UTC.")
    finished_at: str | None = Field(default=None, description="End, RFC 3339 in UTC; absent while it runs.")
    job: str | None = Field(default=None, max_length=253, description="Name of the Job; absent in embedded mode.")
    settings_hash: str | None = Field(
        default=None, max_length=64, description="Hash of the settings that the run had; absent in embedded mode."
    )
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
    documents: DocumentCounts | None = Field(default=None, description="Documents by state.")
    components: tuple[Component, ...] = Field(default=(), max_length=16, description="Children and their state.")

    rules: ClassVar[tuple[Rule, ...]] = (unique("conditions", "type"), unique("components", "kind", "name"))


class IngestionSourceStatus(StatusModel):
    """Observed state of an IngestionSource."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec that was acted on.")
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16, description="Conditions by type.")
    last_run: LastRun | None = Field(default=None, description="The newest run.")
    last_handled_sync_request: str | None = Field(
        default=None, max_length=256, description="Value of the `sync-requested-at` annotation that was answered."
    )
    components: tuple[Component, ...] = Field(default=(), max_length=16, description="Children and their state.")

    rules: ClassVar[tuple[Rule, ...]] = (unique("conditions", "type"), unique("components", "kind", "name"))


class RagEndpointStatus(StatusModel):
    """Observed state of a RagEndpoint."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec that was acted on.")
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16, description="Conditions by type.")
    url: str | None = Field(default=None, max_length=512, description="Where the query API answers.")
    components: tuple[Component, ...] = Field(default=(), max_length=16, description="Children and their state.")

    rules: ClassVar[tuple[Rule, ...]] = (unique("conditions", "type"), unique("components", "kind", "name"))
