"""What the log on Kafka decides without a broker; the contract runs against a real one, in e2e/adapter_tests."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import errors  # type: ignore[import-untyped]  # published without types
from aiokafka.protocol.metadata import MetadataRequest_v5  # type: ignore[import-untyped]  # as above

from lectern_contract.settings import KafkaLog as KafkaSettings
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.kafka_access import Access
from lectern_runtime.adapters.kafka_log import KafkaLog
from lectern_runtime.adapters.kafka_protocol import QuietMetadata
from lectern_runtime.errors import LogError
from lectern_runtime.ports import OutgoingRecord

PLAIN = KafkaSettings(
    bootstrap_servers="one:9092, two:9093",
    security_protocol="PLAINTEXT",
    sasl_mechanism=None,
    username_file=None,
    password_file=None,
    ca_file=None,
)
CODES = list(range(1, 90))


@pytest.fixture
def login(tmp_path: Path) -> KafkaSettings:
    (tmp_path / "username").write_text("ada")
    (tmp_path / "password").write_text("Sesame-4711")
    return PLAIN.model_copy(
        update={
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "username_file": str(tmp_path / "username"),
            "password_file": str(tmp_path / "password"),
        }
    )


@pytest.fixture
async def log() -> AsyncIterator[KafkaLog]:
    opened = await compose.open_log(PLAIN, None)
    assert isinstance(opened, KafkaLog)
    yield opened
    await opened.close()


def test_an_open_cluster_is_asked_without_a_login() -> None:
    assert Access(PLAIN).options() == {
        "bootstrap_servers": ["one:9092", "two:9093"],
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }


def test_a_login_is_read_anew_each_time_and_kept_nowhere(login: KafkaSettings) -> None:
    access = Access(login)
    assert access.options()["sasl_plain_password"] == "Sesame-4711"
    assert login.password_file is not None
    Path(login.password_file).write_text("another")
    assert access.options() == {
        "bootstrap_servers": ["one:9092", "two:9093"],
        "security_protocol": "SASL_PLAINTEXT",
        "ssl_context": None,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "ada",
        "sasl_plain_password": "another",
    }
    assert "another" not in repr(access)


@pytest.mark.parametrize("file", ["username_file", "password_file"])
@pytest.mark.parametrize("value", [None, "absent"])
def test_a_login_that_is_not_there_is_told_with_its_field(login: KafkaSettings, file: str, value: str | None) -> None:
    with pytest.raises(LogError, match=r"spec\.messaging\.credentialsSecretRef"):
        Access(login.model_copy(update={file: value})).options()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_told_with_their_field(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(LogError, match=r"spec\.messaging\.caSecretRef"):
        Access(PLAIN.model_copy(update={"security_protocol": "SSL", "ca_file": str(file)})).options()


@pytest.mark.parametrize("code", CODES)
def test_every_error_of_a_broker_is_a_sentence_about_the_servers(code: int) -> None:
    said = Access(PLAIN).explained(errors.for_code(code)())
    assert said.startswith("one:9092, two:9093 ")
    assert len(said.split()) > 4


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "cannot be reached (Connection refused)"),
        (TimeoutError(), "keeps silent"),
        (EOFError(), "closes the connection"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "does not speak TLS"),
        (ValueError("garbage"), "does not speak Kafka's protocol as expected (ValueError)"),
        (errors.SaslAuthenticationFailed("x"), "refuses the login"),
        (errors.TopicAuthorizationFailedError("t"), "gives no right"),
    ],
)
def test_what_a_connection_raises_is_told_by_its_cause(error: Exception, words: str) -> None:
    assert words in Access(PLAIN).explained(error)


def test_metadata_is_asked_so_that_nothing_is_made() -> None:
    (old, new) = QuietMetadata._CLASSES
    assert old is MetadataRequest_v5
    question = QuietMetadata(["b", "a"]).build(old)
    assert (question.topics, question.allow_auto_topic_creation) == (["a", "b"], False)
    question = QuietMetadata(["b", "a"]).build(new)
    assert ([topic[1] for topic in question.topics], question.may_make_topics) == (["a", "b"], False)


async def test_a_record_too_large_is_refused_before_anything_is_asked(log: KafkaLog) -> None:
    with pytest.raises(LogError, match=r"'t' has \d+ bytes"):
        await log.publish("t", [OutgoingRecord("k", b"x" * (1 << 20))])


async def test_a_closed_log_refuses_every_call(log: KafkaLog) -> None:
    await log.close()
    await log.close()
    for call in (log.topic_id("t"), log.publish("t", []), log.subscribe("t", group=None), log.lag("t", group="g")):
        with pytest.raises(LogError, match="was closed"):
            await call
