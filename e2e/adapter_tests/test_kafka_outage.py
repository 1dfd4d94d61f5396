"""The log on Kafka tells within bounds that its broker is away or refuses it, and goes on by itself afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from e2e.adapter_tests.kafka_world import make_impatient, opened, polling, settings, until_refused, until_works
from e2e.operator_tests.kafka_user import KafkaUser
from e2e.testbed.kafka import OWNER, STRANGER, Kafka
from e2e.testbed.process import free_ports
from lectern_runtime.adapters import kafka_client, kafka_publish
from lectern_runtime.errors import LogError
from lectern_runtime.ports import Record
from lectern_runtime_tests.contracts.log_contract import after, pairs, records, take

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds within which one call has an answer, whatever the broker does."""
    return make_impatient(monkeypatch)


@pytest.fixture
async def topic(kafka: Kafka) -> str:
    """Return a topic of three partitions, made by somebody else."""
    name = f"lectern.test.kb-{uuid.uuid4().hex[:8]}.events"
    await KafkaUser(kafka.bootstrap).make(name, partitions=3, configs={"min.insync.replicas": "1"})
    return name


@pytest.fixture
def broker(kafka: Kafka) -> Iterator[Kafka]:
    """Return the broker for tests that stop or pause it, and leave it running."""
    yield kafka
    kafka.resume()


@pytest.fixture
def login(kafka: Kafka, tmp_path: Path) -> tuple[Path, Path]:
    """Return files with the owner's name and password."""
    (tmp_path / "username").write_text(OWNER)
    (tmp_path / "password").write_text(kafka.passwords[OWNER])
    return tmp_path / "username", tmp_path / "password"


# ---------------------------------------------------------------------------------------------- away


async def test_a_log_opened_while_nothing_answers_says_so_at_each_call(patience: float) -> None:
    (port,) = free_ports(1)
    async with opened(settings(f"127.0.0.1:{port}")) as log:
        for call in (
            lambda: log.topic_id("t"),
            lambda: log.publish("t", records(("a", "1"))),
            lambda: log.subscribe("t", group="g"),
            lambda: log.subscribe("t", group=None),
            lambda: log.lag("t", group="g"),
        ):
            began = time.monotonic()
            with pytest.raises(LogError, match=f"127.0.0.1:{port} cannot be reached"):
                await call()
            assert time.monotonic() - began < patience


async def test_a_server_that_is_away_does_not_hide_the_others(kafka: Kafka, topic: str) -> None:
    (port,) = free_ports(1)
    async with opened(settings(f"127.0.0.1:{port},{kafka.bootstrap}")) as log:
        await log.publish(topic, records(("a", "1")))
        assert pairs(await take(await log.subscribe(topic, group="g"), 1)) == [("a", "1")]


async def test_a_broker_that_stops_is_told_and_all_goes_on_when_it_is_back(
    broker: Kafka, topic: str, patience: float
) -> None:
    async with opened(settings(broker.bootstrap)) as log:
        member, reader = await log.subscribe(topic, group="g"), await log.subscribe(topic, group=None)
        await log.publish(topic, records(("a", "1")))
        found = await take(member, 1)
        await take(reader, 1)
        broker.stop()
        for call in (
            lambda: log.publish(topic, records(("a", "2"))),
            lambda: member.poll(max_records=1, timeout_seconds=0.2),
            lambda: reader.poll(max_records=1, timeout_seconds=0.2),
            lambda: member.commit(after(found)),
            member.lag,
        ):
            began = time.monotonic()
            assert broker.bootstrap in await until_refused(call)
            assert time.monotonic() - began < patience
        broker.start()
        await until_works(lambda: member.commit(after(found)))
        await until_works(lambda: log.publish(topic, records(("a", "3"))))
        for consumer in (member, reader):
            seen: list[Record] = []
            async with asyncio.timeout(60.0):
                while not seen or seen[-1].value != b"3":
                    await until_works(polling(consumer, seen))
            # the publish that was refused may have arrived, before the one that came after it, and nothing comes twice
            values = [each.value for each in seen]
            assert values in ([b"3"], [b"2", b"3"])


async def test_a_broker_that_keeps_silent_is_told_within_bounds(broker: Kafka, topic: str, patience: float) -> None:
    async with opened(settings(broker.bootstrap)) as log:
        member = await log.subscribe(topic, group="g")
        await log.publish(topic, records(("a", "1")))
        found = await take(member, 1)
        broker.pause()
        try:
            for call in (
                lambda: log.publish(topic, records(("a", "2"))),
                lambda: member.commit(after(found)),
                lambda: log.topic_id(topic),
                lambda: member.poll(max_records=1, timeout_seconds=0.2),
            ):
                began = time.monotonic()
                assert broker.bootstrap in await until_refused(call)
                assert time.monotonic() - began < patience
        finally:
            broker.resume()
        await until_works(lambda: log.publish(topic, records(("a", "3"))))
        seen: list[Record] = []
        async with asyncio.timeout(60.0):
            while not seen or seen[-1].value != b"3":
                await until_works(polling(member, seen))
        assert [each.value for each in seen][-2:] == [b"2", b"3"]  # what was on its way arrived first, and once
        await until_works(lambda: member.commit(after(seen)))


async def test_a_publish_that_outlives_a_silence_arrives_once(
    broker: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_publish, "PUBLISH_SECONDS", 30.0)
    async with opened(settings(broker.bootstrap)) as log:
        member = await log.subscribe(topic, group="g")
        await log.publish(topic, records(("a", "1")))
        broker.pause()
        publishing = asyncio.create_task(log.publish(topic, records(("a", "2"))))
        # longer than one request waits: the producer sends it again, and the broker will find both
        done, _ = await asyncio.wait({publishing}, timeout=5.0)
        broker.resume()
        assert not done
        assert len(await publishing) == 1
        await log.publish(topic, records(("a", "3")))
        seen: list[Record] = []
        async with asyncio.timeout(30.0):
            while not seen or seen[-1].value != b"3":
                await until_works(polling(member, seen))
        assert [each.value for each in seen] == [b"1", b"2", b"3"]


async def test_closing_ends_within_bounds_while_the_broker_is_silent(broker: Kafka, topic: str) -> None:
    async with opened(settings(broker.bootstrap)) as log:
        await log.subscribe(topic, group="g")
        await log.subscribe(topic, group=None)
        await log.publish(topic, records(("a", "1")))
        broker.pause()
        began = time.monotonic()
        await log.close()
        assert time.monotonic() - began < 3 * kafka_client.CLOSE_SECONDS
    names = {getattr(each.get_coro(), "__qualname__", "") for each in asyncio.all_tasks()}
    assert not {name for name in names if "Sender" in name or "Coordinator" in name or "Fetcher" in name}


# --------------------------------------------------------------------------------------------- login


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
async def test_a_login_lets_publish_and_read(
    kafka: Kafka, topic: str, login: tuple[Path, Path], protocol: str, mechanism: str
) -> None:
    asked = settings(kafka.at(protocol), protocol=protocol, mechanism=mechanism, login=login, ca=kafka.ca)
    async with opened(asked) as log:
        await log.publish(topic, records(("a", "1")))
        assert pairs(await take(await log.subscribe(topic, group="g"), 1)) == [("a", "1")]


async def test_tls_without_a_login_lets_publish(kafka: Kafka, topic: str) -> None:
    async with opened(settings(kafka.at("SSL"), protocol="SSL", ca=kafka.ca)) as log:
        assert len(await log.publish(topic, records(("a", "1")))) == 1


@pytest.mark.parametrize(
    ("protocol", "at", "with_ca", "said"),
    [
        ("SSL", "SSL", False, "not trusted .*caSecretRef"),
        ("SSL", "PLAINTEXT", True, "securityProtocol"),
        ("PLAINTEXT", "SSL", True, "securityProtocol"),
        ("SASL_PLAINTEXT", "PLAINTEXT", True, "takes no login.*securityProtocol"),
    ],
)
async def test_the_wrong_way_in_is_told_with_the_field(
    kafka: Kafka, topic: str, login: tuple[Path, Path], protocol: str, at: str, with_ca: bool, said: str
) -> None:
    ca = kafka.ca if with_ca else None
    mechanism = "PLAIN" if protocol.startswith("SASL") else None
    asked = settings(kafka.at(at), protocol=protocol, mechanism=mechanism, login=login, ca=ca)
    async with opened(asked) as log:
        with pytest.raises(LogError, match=said):
            await log.publish(topic, records(("a", "1")))


async def test_a_user_without_rights_is_told(kafka: Kafka, topic: str, login: tuple[Path, Path]) -> None:
    login[0].write_text(STRANGER)
    login[1].write_text(kafka.passwords[STRANGER])
    asked = settings(kafka.at("SASL_PLAINTEXT"), protocol="SASL_PLAINTEXT", mechanism="PLAIN", login=login)
    async with opened(asked) as log:
        with pytest.raises(LogError, match="gives no right"):
            await log.publish(topic, records(("a", "1")))


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_password_that_is_corrected_is_used_without_a_new_start(
    kafka: Kafka, topic: str, login: tuple[Path, Path], mechanism: str
) -> None:
    login[1].write_text("not-the-password")
    asked = settings(kafka.at("SASL_PLAINTEXT"), protocol="SASL_PLAINTEXT", mechanism=mechanism, login=login)
    async with opened(asked) as log:
        with pytest.raises(LogError, match=r"refuses the login.*credentialsSecretRef"):
            await log.subscribe(topic, group="g")
        login[1].unlink()
        with pytest.raises(LogError, match="cannot be read from"):
            await log.subscribe(topic, group="g")
        login[1].write_text(kafka.passwords[OWNER])
        member = await log.subscribe(topic, group="g")
        await log.publish(topic, records(("a", "1")))
        assert pairs(await take(member, 1)) == [("a", "1")]


async def test_a_password_that_changes_is_read_again_by_running_producers_and_consumers(
    broker: Kafka, topic: str, login: tuple[Path, Path]
) -> None:
    asked = settings(broker.at("SASL_PLAINTEXT"), protocol="SASL_PLAINTEXT", mechanism="PLAIN", login=login)
    async with opened(asked) as log:
        member = await log.subscribe(topic, group="g")
        await log.publish(topic, records(("a", "1")))
        await take(member, 1)
        login[1].write_text("withdrawn")
        broker.stop()  # every connection is made anew
        broker.start()
        seen: list[Record] = []
        assert "refuses the login" in await until_refused(polling(member, seen))
        assert "refuses the login" in await until_refused(lambda: log.publish(topic, records(("a", "2"))))
        login[1].write_text(broker.passwords[OWNER])
        await until_works(lambda: log.publish(topic, records(("a", "3"))))
        async with asyncio.timeout(60.0):
            while not seen or seen[-1].value != b"3":
                await until_works(polling(member, seen))


async def test_no_password_is_in_a_log_or_an_error(
    kafka: Kafka, topic: str, login: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for mechanism in MECHANISMS:
        asked = settings(kafka.at("SASL_PLAINTEXT"), protocol="SASL_PLAINTEXT", mechanism=mechanism, login=login)
        async with opened(asked) as log:
            await log.publish(topic, records(("a", "1")))
            said += [repr(vars(log)), repr(asked)]
        wrong = login[1].with_name("wrong")
        wrong.write_text("Sesame-4711")
        async with opened(asked.model_copy(update={"password_file": str(wrong)})) as log:
            with pytest.raises(LogError) as refused:
                await log.publish(topic, records(("a", "1")))
            said.append(f"{refused.value!r} {refused.value.__cause__!r}")
    everything = caplog.text + " ".join(said)
    assert kafka.passwords[OWNER] not in everything
    assert "Sesame-4711" not in everything


@pytest.fixture(autouse=True)
async def _nothing_is_left(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Fail a test whose clients were forgotten: aiokafka says so at their end."""
    yield
    assert "Unclosed" not in caplog.text
