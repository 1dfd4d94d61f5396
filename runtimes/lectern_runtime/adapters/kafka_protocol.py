"""Kafka's metadata request in the form that the log needs: it makes no topic, and it tells topic ids.

aiokafka asks in a way that lets a broker with its default settings make every topic that is asked for. Used by
`kafka_client` alone. Layout: https://kafka.apache.org/protocol, Metadata v5 and v12.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

# aiokafka is published without types.
from aiokafka.protocol.abstract import AbstractType  # type: ignore[import-untyped]
from aiokafka.protocol.api import Request, RequestStruct, Response  # type: ignore[import-untyped]
from aiokafka.protocol.metadata import MetadataRequest_v5, MetadataResponse_v5  # type: ignore[import-untyped]
from aiokafka.protocol.types import (  # type: ignore[import-untyped]
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_TEXT = CompactString("utf-8")
_NUMBERS = CompactArray(Int32)
_NOBODY = bytes(16)


class _Uuid(AbstractType):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


_BROKER = (("node", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), ("tags", TaggedFields))
_PARTITION = (
    ("error_code", Int16),
    ("number", Int32),
    ("leader", Int32),
    ("epoch", Int32),
    ("replicas", _NUMBERS),
    ("in_sync", _NUMBERS),
    ("offline", _NUMBERS),
    ("tags", TaggedFields),
)
_TOPIC = (
    ("error_code", Int16),
    ("name", _TEXT),
    ("id", _Uuid),
    ("is_internal", Boolean),
    ("partitions", CompactArray(*_PARTITION)),
    ("operations", Int32),
    ("tags", TaggedFields),
)


class _Answer(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(*_BROKER)),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        ("topics", CompactArray(*_TOPIC)),
        ("tags", TaggedFields),
    )


class _Question(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", CompactArray(("id", _Uuid), ("name", _TEXT), ("tags", TaggedFields))),
        ("may_make_topics", Boolean),
        ("operations", Boolean),
        ("tags", TaggedFields),
    )


class QuietMetadata(Request[MetadataRequest_v5 | _Question]):  # type: ignore[misc]
    """Ask for the cluster and these topics without making any; ids come from Kafka 3.1 on."""

    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = sorted(topics)

    def build(self, request_struct_class: Any) -> Any:
        """Return the request in the version that both sides know."""
        if request_struct_class is _Question:
            return _Question([(_NOBODY, name, {}) for name in self._topics], False, False, {})
        return request_struct_class(self._topics, False)


@dataclass(frozen=True, slots=True)
class Described:
    """A topic as a broker shows it: `error_code` 0 when it has it; `leaders` by partition, -1 for none."""

    error_code: int
    id: str | None
    leaders: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A metadata answer: topics by name, and the same once more in the form that aiokafka reads."""

    brokers: int
    controller: int
    topics: Mapping[str, Described]
    plain: Any


def read(answer: Any) -> Cluster:
    """Read an answer of either version."""
    with_ids = isinstance(answer, _Answer)
    topics: dict[str, Described] = {}
    plain_topics = []
    for code, name, *rest in answer.topics:
        identity = rest.pop(0) if with_ids else _NOBODY
        internal, partitions = rest[0], rest[1]
        own = base64.urlsafe_b64encode(identity).decode().rstrip("=") if identity != _NOBODY else None
        topics[name] = Described(code, own, {each[1]: each[2] for each in partitions})
        # Version 5 has no leader epochs.
        plain = [(*each[:3], *each[4:7]) if with_ids else tuple(each) for each in partitions]
        plain_topics.append((code, name, internal, plain))
    brokers = [tuple(each[:4]) for each in answer.brokers]
    form = MetadataResponse_v5(answer.throttle_time_ms, brokers, answer.cluster_id, answer.controller_id, plain_topics)
    return Cluster(len(brokers), answer.controller_id, topics, form)
