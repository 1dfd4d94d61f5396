"""Two requests of Kafka's protocol that aiokafka lacks or sends in a form that does harm.

Metadata that makes nothing: asked in aiokafka's own way, a broker with its default settings makes every topic that it
is asked for. Metadata with topic ids. Changes of single settings: the older request of aiokafka takes back every
setting that it does not name. Imported by `kafka_connection` and `kafka_requests`.

Layouts: the message definitions of Apache Kafka, https://kafka.apache.org/protocol (Metadata v5 and v12,
IncrementalAlterConfigs v0).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

# aiokafka is published without type information.
from aiokafka.protocol.abstract import AbstractType  # type: ignore[import-untyped]
from aiokafka.protocol.api import Request, RequestStruct, Response  # type: ignore[import-untyped]
from aiokafka.protocol.metadata import MetadataRequest_v5  # type: ignore[import-untyped]
from aiokafka.protocol.types import (  # type: ignore[import-untyped]
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

TOPIC_RESOURCE = 2
SET = 0
_ID_BYTES = 16
NO_ID = bytes(_ID_BYTES)


class TopicId(AbstractType):  # type: ignore[misc]
    """Sixteen bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        """Return the bytes as they are."""
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        """Return the next sixteen bytes."""
        return data.read(_ID_BYTES)


class MetadataResponseWithIds(Response):  # type: ignore[misc]
    """Version 12: brokers, controller, topics with their ids."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("topic_id", TopicId),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class MetadataRequestWithIds(RequestStruct):  # type: ignore[misc]
    """Version 12."""

    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponseWithIds
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", TopicId), ("topic", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class Metadata(Request[MetadataRequest_v5 | MetadataRequestWithIds]):  # type: ignore[misc]
    """Ask for these topics and for the cluster, and make nothing; brokers before Kafka 3.1 tell no ids."""

    API_KEY = 3

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, request_struct_class: Any) -> Any:
        """Return the request in the newest version that both sides know."""
        if request_struct_class is MetadataRequestWithIds:
            topics: list[tuple[Any, ...]] = [(NO_ID, name, {}) for name in self._names]
            return request_struct_class(topics, False, False, {})
        return request_struct_class(self._names, False)


class AlteredConfigs(Response):  # type: ignore[misc]
    """Version 0: an error for each resource."""

    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "responses",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class IncrementalAlterConfigs(RequestStruct):  # type: ignore[misc]
    """Version 0, since Kafka 2.3."""

    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = AlteredConfigs
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("configs", Array(("name", String("utf-8")), ("operation", Int8), ("value", String("utf-8")))),
            ),
        ),
        ("validate_only", Boolean),
    )


class SetConfigs(Request[IncrementalAlterConfigs]):  # type: ignore[misc]
    """Set these settings of one topic."""

    API_KEY = 44

    def __init__(self, topic: str, configs: list[tuple[str, str]]) -> None:
        self._resource = (TOPIC_RESOURCE, topic, [(name, SET, value) for name, value in configs])

    def build(self, request_struct_class: Any) -> Any:
        """Return the request."""
        return request_struct_class([self._resource], False)
