"""Messages: what is written can be read, by this release and with yesterday's bytes; nothing else can."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract import messages
from lectern_contract.errors import DocumentError
from lectern_contract.messages import (
    AccessDecision,
    Change,
    DeadLetter,
    Deleted,
    DocumentEvent,
    DocumentRef,
    Envelope,
    Put,
)

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
references = st.builds(
    DocumentRef, namespace=words, knowledge_base=words, tenant=words, access_level=words, source=words, uri=words
)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
puts = st.builds(
    Put,
    document=references,
    sha256=digests,
    size=st.integers(0, 1 << 40),
    media_type=words,
    title=words,
    metadata=st.dictionaries(words, st.one_of(words, st.integers(-(1 << 53), 1 << 53), st.booleans()), max_size=4),
)
deletions = st.builds(Deleted, document=references)
events = st.builds(DocumentEvent, document=references, change=st.sampled_from(Change), version=st.integers(0, 1 << 53))
dead_letters = st.builds(
    DeadLetter,
    message=st.one_of(puts, deletions),
    stage=st.just("parse"),
    reason=st.just("Encrypted"),
    attempts=st.integers(1, 20),
    origin_partition=st.integers(0, 999),
    origin_offset=st.integers(0, 1 << 44),
)
bodies = st.one_of(puts, deletions, events, dead_letters)
WRITTEN_BY_0_1 = (
    b'{"specversion":"1.0","schema_version":1,"id":"1","source":"lectern/connector/s","time":"2026-11-21T00:00:00Z",'
    b'"data":{"type":"document.deleted","document":{"namespace":"n","knowledge_base":"kb","tenant":"t",'
    b'"access_level":"l","source":"s","uri":"a.md"}}}'
)


def envelope(body: object) -> Envelope:
    return Envelope.model_validate(
        {"id": "1", "source": "lectern/connector/s", "time": "2026-11-21T00:00:00Z", "data": body}
    )


@given(bodies)
def test_what_is_written_can_be_read(body: Put | Deleted | DocumentEvent | DeadLetter) -> None:
    written = envelope(body)

    assert messages.decode(messages.encode(written)) == written


@given(puts)
def test_all_messages_about_a_document_have_its_id_as_key(put: Put) -> None:
    letter = DeadLetter(message=put, stage="parse", reason="X", attempts=1, origin_partition=0, origin_offset=0)
    event = DocumentEvent(document=put.document, change=Change.FAILED, version=1)
    bodies = (put, Deleted(document=put.document), event, letter)

    assert {envelope(body).key for body in bodies} == {put.document.id}


def test_a_decision_about_access_has_the_one_who_asked_as_key() -> None:
    who: dict[str, Any] = {"namespace": "n", "knowledge_base": "kb", "principal": "key:ci"}
    decision = AccessDecision(**who, action="documents.put", allowed=True)
    assert envelope(decision).key == "key:ci"
    assert messages.decode(messages.encode(envelope(decision))).data == decision


def test_the_schema_takes_what_is_written_and_names_every_type() -> None:
    schema = messages.json_schema()
    mapping = schema["properties"]["data"]["discriminator"]["mapping"]
    assert set(mapping) == {each.model_fields["type"].default for each in get_args(get_args(messages.Body)[0])}


def test_bytes_of_the_first_release_can_be_read() -> None:
    assert messages.decode(WRITTEN_BY_0_1).data.type == "document.deleted"


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(WRITTEN_BY_0_1), **fields}).encode()


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (b"", "MessageInvalid", "not a readable message"),
        (b"\xff\xfe", "MessageInvalid", "not a readable message"),
        (b"[]", "MessageInvalid", "not a readable message"),
        (b'{"specversion":"1.0"}', "MessageInvalid", "schema_version"),
        (b'{"specversion":"1.0","schema_version":2}', "MessageInvalid", "id"),
        (changed(specversion="2.0"), "MessageInvalid", "specversion"),
        (changed(surprise=1), "MessageInvalid", "surprise"),
        (changed(data={"type": "document.exploded"}), "MessageInvalid", "data"),
        (changed(schema_version=99), "SchemaUnknown", "upgrade the reader"),
        (changed(schema_version=3, surprise=1), "SchemaUnknown", "message schema 3"),
        (changed(schema_version="1"), "MessageInvalid", "schema_version"),
        (changed(traceparent="00-zz-zz-00"), "MessageInvalid", "traceparent"),
    ],
)
def test_what_is_not_a_message_is_refused_with_the_place(data: bytes, reason: str, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        messages.decode(data)

    assert caught.value.reason == reason
    assert words in str(caught.value)


def test_a_message_that_is_too_large_is_refused_before_it_is_sent() -> None:
    reference = DocumentRef(namespace="n", knowledge_base="k", tenant="t", access_level="l", source="s", uri="u" * 4096)
    put = Put(document=reference, sha256="0" * 64, size=1, media_type="text/plain", metadata={"m": "x" * 5000})

    with pytest.raises(DocumentError, match="shorten its title, uri or metadata"):
        messages.encode(envelope(put))
