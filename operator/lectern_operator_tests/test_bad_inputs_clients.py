"""Addresses that are none, servers that keep silent, and texts that JSON and YAML write differently."""

from __future__ import annotations

import asyncio
import time

import pytest
import yaml

from lectern_operator.clients import embedder, kafka_connection
from lectern_operator.clients.apply_body import apply_body
from lectern_operator.clients.embedder import EmbedderServer, open_embedders
from lectern_operator.clients.kafka import BrokerServer, open_brokers
from lectern_operator.facts import Unknown
from lectern_operator.facts.broker import Rejected, Unreachable

MODEL = "intfloat/e5-base-v2"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:99999", "http://[", "http://a:b:c", "http://a..b", "http://127.0.0.1:0", f"http://{'a' * 64}"],
)
async def test_what_is_no_address_of_an_embedding_server_is_told_with_its_field(url: str) -> None:
    async with open_embedders() as embedders:
        found = await embedders.look(EmbedderServer(url, "TEI", MODEL))
    assert isinstance(found, Unknown)
    assert found.reason.startswith(f"{url} is no address (")
    assert found.reason.endswith("): correct spec.embedding.server.external.url")


@pytest.mark.parametrize("url", ["http://%zz", "http://nowhere.invalid", "https://~", "http://xn--", "http://a:"])
async def test_an_address_that_leads_nowhere_is_unknown(url: str) -> None:
    async with open_embedders() as embedders:
        found = await embedders.look(EmbedderServer(url, "OpenAI", MODEL))
    assert isinstance(found, Unknown)
    assert url in found.reason


async def test_an_embedding_server_that_keeps_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "LOOK_SECONDS", 0.3)
    ended = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    began = time.monotonic()
    async with open_embedders() as embedders:
        found = await embedders.look(EmbedderServer(url, "TEI", MODEL))
    assert isinstance(found, Unknown)
    assert url in found.reason
    assert time.monotonic() - began < 5
    ended.set()
    server.close()
    await server.wait_closed()


def test_a_reason_comes_within_the_ten_seconds_that_are_promised() -> None:
    assert embedder.LOOK_SECONDS < 10


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "a..b:1", f"{'a' * 64}:1"])
async def test_what_is_no_address_of_a_broker_is_told_with_its_field(address: str) -> None:
    async with open_brokers() as brokers:
        found = await brokers.look(BrokerServer(address, "PLAINTEXT"), ["topic"])
    assert type(found) is Unreachable
    assert found.reason.startswith(f"{address} is no address (")
    assert found.reason.endswith("): correct spec.messaging.bootstrapServers")


def test_more_copies_than_brokers_are_told_with_the_way_out() -> None:
    found = kafka_connection.answered(BrokerServer("a:1", "PLAINTEXT"), 38, "only 1 broker(s) are registered")
    assert found == Rejected(
        "a:1 refuses: INVALID_REPLICATION_FACTOR: only 1 broker(s) are registered; "
        "lower spec.messaging.replicationFactor, or add brokers"
    )


TEXTS = (
    "",
    "Straße 家",
    "\U0001f4da\U0010ffff",
    "e\u0301",
    "\x00\x07\x1b\x7f\x85\x9f",
    "a\u2028b\u2029c\ufeff",
    "\\ud83d\"'\n\t",
)


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_is_the_same_for_a_reader_of_yaml(text: str) -> None:
    body = {"spec": {"args": [text], text or "empty": 1, "none": None, "yes": True}}
    assert yaml.safe_load(apply_body(body)) == body
