"""Condition types and reasons of all kinds: enums, one row of the generated reference each.

The policies choose among them; nothing else invents a condition.
"""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """Condition types of all kinds; each kind always shows the subset that `CONDITIONS` names."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SPEC_HONORED = "SpecHonored"
    REFERENCES_FOUND = "ReferencesFound"
    EMBEDDING_READY = "EmbeddingReady"
    TOPICS_READY = "TopicsReady"
    COLLECTION_READY = "CollectionReady"
    WORKERS_READY = "WorkersReady"
    SCALER_READY = "ScalerReady"
    KNOWLEDGE_BASE_FOUND = "KnowledgeBaseFound"
    ENDPOINTS_ALLOWED = "EndpointsAllowed"
    CONFIG_APPLIED = "ConfigApplied"
    SYNCED = "Synced"
    DOCUMENTS_INDEXED = "DocumentsIndexed"
    RECEIVER_READY = "ReceiverReady"
    QUERY_READY = "QueryReady"
    GENERATION_READY = "GenerationReady"
    RERANKER_READY = "RerankerReady"
    ROUTE_READY = "RouteReady"


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
    NO_DEAD_LETTERS = "NoDeadLetters"
    DEAD_LETTERS_OPEN = "DeadLettersOpen"
    APPLY_REFUSED = "ApplyRefused"
    DIMENSION_MISMATCH = "DimensionMismatch"
    EMBEDDER_MISMATCH = "EmbedderMismatch"
    EMBEDDER_VERIFIED = "EmbedderVerified"
    EMBEDDER_UNREACHABLE = "EmbedderUnreachable"
    TOPICS_EXIST = "TopicsExist"
    TOPICS_CHANGED = "TopicsChanged"
    TOPIC_NOT_READY = "TopicNotReady"
    BROKER_UNREACHABLE = "BrokerUnreachable"
    STRIMZI_NOT_INSTALLED = "StrimziNotInstalled"
    CREDENTIALS_REJECTED = "CredentialsRejected"
    COLLECTION_EXISTS = "CollectionExists"
    COLLECTION_CHANGED = "CollectionChanged"
    COLLECTION_TAKEN = "CollectionTaken"
    VECTOR_STORE_UNREACHABLE = "VectorStoreUnreachable"
    WAITING = "Waiting"
    REFERENCES_EXIST = "ReferencesExist"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 -- a reason
    CONFIG_MAP_MISSING = "ConfigMapMissing"
    ACCESS_DENIED = "AccessDenied"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    ENDPOINTS_AS_ALLOWED = "EndpointsAsAllowed"
    SETTINGS_LOADED = "SettingsLoaded"
    SETTINGS_PENDING = "SettingsPending"
    SETTINGS_REFUSED = "SettingsRefused"
    ROUTE_ACCEPTED = "RouteAccepted"
    ROUTE_REJECTED = "RouteRejected"
    GATEWAY_NOT_INSTALLED = "GatewayNotInstalled"
    NOT_NEEDED = "NotNeeded"
    SCALED_TO_ZERO = "ScaledToZero"
    CHILD_PAUSED = "ChildPaused"
    DELETION_BLOCKED = "DeletionBlocked"
    DELETING = "Deleting"
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
    Reason.NO_DEAD_LETTERS: "No document of the source is given up.",
    Reason.DEAD_LETTERS_OPEN: "Workers gave documents up; the message says how many and how to see them.",
    Reason.APPLY_REFUSED: "The API server refused a child, or its name is taken; the message carries its words.",
    Reason.DIMENSION_MISMATCH: "The embedding server returns vectors of another length than the spec says; no "
    "collection is made or changed.",
    Reason.EMBEDDER_MISMATCH: "The embedding server cannot take what the spec asks for (model or longest input); the "
    "message says which.",
    Reason.EMBEDDER_VERIFIED: "The embedding server answers, and its vectors have the length that the spec says.",
    Reason.EMBEDDER_UNREACHABLE: "The embedding server gives no usable answer; the message carries its words.",
    Reason.TOPICS_EXIST: "Every topic exists as the spec says.",
    Reason.TOPICS_CHANGED: "A topic is not as the spec says and cannot be mended without loss; the message says what "
    "differs.",
    Reason.TOPIC_NOT_READY: "Strimzi has not made a topic yet, or reports why it cannot.",
    Reason.BROKER_UNREACHABLE: "No broker of `spec.messaging.bootstrapServers` answers.",
    Reason.STRIMZI_NOT_INSTALLED: "The kind KafkaTopic is not known to the API server.",
    Reason.CREDENTIALS_REJECTED: "A server refuses the credentials of the named Secret.",
    Reason.COLLECTION_EXISTS: "Collection, shard keys, indexes and alias are as the spec says.",
    Reason.COLLECTION_CHANGED: "The collection differs from the spec in what cannot be changed in place; the message "
    "says what.",
    Reason.COLLECTION_TAKEN: "A collection or alias of that name exists and belongs to somebody else.",
    Reason.VECTOR_STORE_UNREACHABLE: "The server of `spec.vectorStore.url` gives no usable answer.",
    Reason.WAITING: "An earlier part of the chain is not ready yet; the message names it.",
    Reason.REFERENCES_EXIST: "Every Secret and ConfigMap that the spec names has the keys that are needed.",
    Reason.SECRET_MISSING: "A Secret that the spec names does not exist, or lacks a key.",
    Reason.CONFIG_MAP_MISSING: "A ConfigMap that the spec names does not exist, or lacks a key.",
    Reason.ACCESS_DENIED: "The operator has no right to read or write something; the message says which right.",
    Reason.NAMESPACE_NOT_ALLOWED: "An endpoint of another namespace names a knowledge base whose `allowedNamespaces` "
    "does not list it.",
    Reason.ENDPOINTS_AS_ALLOWED: "Every endpoint that names the knowledge base may use it.",
    Reason.SETTINGS_LOADED: "Every running pod has loaded the settings that the spec asks for.",
    Reason.SETTINGS_PENDING: "Some pods still run earlier settings, or have not said what they run.",
    Reason.SETTINGS_REFUSED: "A pod refuses its settings file: operator and image are not of one release.",
    Reason.ROUTE_ACCEPTED: "The Gateway accepted the route, or the Ingress has been made.",
    Reason.ROUTE_REJECTED: "The Gateway did not accept the route; the message carries its words.",
    Reason.GATEWAY_NOT_INSTALLED: "The kind HTTPRoute is not known to the API server.",
    Reason.NOT_NEEDED: "The spec asks for nothing of this kind.",
    Reason.SCALED_TO_ZERO: "No replica runs because nothing asks for one; the first request starts one.",
    Reason.CHILD_PAUSED: "A child carries the annotation `lectern.dev/paused`: it is left as it is.",
    Reason.DELETION_BLOCKED: "External state cannot be deleted; the message has the command that frees the object.",
    Reason.DELETING: "The resource is being deleted, with what its deletion policy names.",
    Reason.UNKNOWN: "The fact could not be read yet.",
}

CONDITIONS: dict[str, tuple[ConditionType, ...]] = {
    "KnowledgeBase": (
        ConditionType.READY,
        ConditionType.RECONCILING,
        ConditionType.STALLED,
        ConditionType.SPEC_HONORED,
        ConditionType.REFERENCES_FOUND,
        ConditionType.EMBEDDING_READY,
        ConditionType.TOPICS_READY,
        ConditionType.COLLECTION_READY,
        ConditionType.WORKERS_READY,
        ConditionType.SCALER_READY,
        ConditionType.CONFIG_APPLIED,
        ConditionType.ENDPOINTS_ALLOWED,
    ),
    "IngestionSource": (
        ConditionType.READY,
        ConditionType.RECONCILING,
        ConditionType.STALLED,
        ConditionType.SPEC_HONORED,
        ConditionType.KNOWLEDGE_BASE_FOUND,
        ConditionType.REFERENCES_FOUND,
        ConditionType.SYNCED,
        ConditionType.RECEIVER_READY,
        ConditionType.CONFIG_APPLIED,
        ConditionType.DOCUMENTS_INDEXED,
    ),
    "RagEndpoint": (
        ConditionType.READY,
        ConditionType.RECONCILING,
        ConditionType.STALLED,
        ConditionType.SPEC_HONORED,
        ConditionType.KNOWLEDGE_BASE_FOUND,
        ConditionType.REFERENCES_FOUND,
        ConditionType.GENERATION_READY,
        ConditionType.RERANKER_READY,
        ConditionType.QUERY_READY,
        ConditionType.SCALER_READY,
        ConditionType.ROUTE_READY,
        ConditionType.CONFIG_APPLIED,
    ),
}
