"""The shared tier of the embedding cache on a real Redis: it keeps the contract, and a bad server costs little.

Refusals come from real servers: passwords, rights, TLS, memory, silence, ends and restarts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from e2e.adapter_tests.redis_world import Clock, refused, rewrite, settings, until_works
from e2e.testbed.process import free_ports
from e2e.testbed.redis import Redis, redis_server
from lectern_contract.settings_parts import RedisSettings
from lectern_runtime.adapters import redis_connection
from lectern_runtime.adapters.redis_connection import RedisServer
from lectern_runtime.adapters.redis_vectors import PREFIX, PURPOSE, RedisVectors
from lectern_runtime_tests.contracts.embedding_cache_contract import (
    ONE,
    TWO,
    Advance,
    EmbeddingCacheContract,
    OpenTier,
)

pytestmark = pytest.mark.integration
WIDE = {f"m:{number}": np.eye(1, 384, number % 384, dtype=np.float32)[0] for number in range(2000)}


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with redis_server() as found:
        yield found


@pytest.fixture
def own() -> Iterator[Redis]:
    """A server for tests that pause or end it."""
    with redis_server(append_only="always") as found:
        yield found
        found.resume()


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TierAt(Protocol):
    """Opens a tier at a server; the test's end closes it."""

    def __call__(self, asked: RedisSettings, *, namespace: str = "team", dimensions: int = 2) -> RedisVectors: ...


@pytest.fixture
async def tier_at(clock: Clock) -> AsyncIterator[TierAt]:
    async with AsyncExitStack() as stack:

        def tier_at(asked: RedisSettings, *, namespace: str = "team", dimensions: int = 2) -> RedisVectors:
            server = RedisServer.open(asked, PURPOSE)
            server.clock = clock
            tier = RedisVectors(server, namespace=namespace, dimensions=dimensions, ttl_seconds=60)
            stack.push_async_callback(tier.close)
            return tier

        yield tier_at


class TestRedisVectors(EmbeddingCacheContract):
    @pytest.fixture(params=["7", "8"])
    async def open_tier(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenTier]:
        with redis_server(request.param) as server:
            asked = settings(server, tmp_path)
            opened: list[RedisVectors] = []

            def open_tier(ttl: float) -> RedisVectors:
                opened.append(RedisVectors.open(asked, namespace="team", dimensions=2, ttl_seconds=int(ttl)))
                return opened[-1]

            yield open_tier
            for tier in opened:
                await tier.close()

    @pytest.fixture
    def advance(self) -> Advance:
        return asyncio.sleep


# ------------------------------------------------------------------------------------ what lies where


async def test_namespaces_do_not_meet(server: Redis, tmp_path: Path, tier_at: TierAt) -> None:
    asked = settings(server, tmp_path)
    await tier_at(asked, namespace="one").put({"m:a": ONE})
    assert await tier_at(asked, namespace="other").get(["m:a"]) == {}
    assert await tier_at(asked, namespace="on").get(["e:m:a", "m:a"]) == {}


async def test_every_key_ends_by_itself_and_says_no_text(own: Redis, tmp_path: Path, tier_at: TierAt) -> None:
    await tier_at(settings(own, tmp_path), namespace="team").put({"m:a": ONE, "m:b": TWO})
    with own.owner() as owner:
        keys = sorted(owner.keys("*"))
        assert keys == [f"{PREFIX}team:m:a".encode(), f"{PREFIX}team:m:b".encode()]
        assert all(0 < int(owner.ttl(key)) <= 60 for key in keys)


@pytest.mark.parametrize("value", [b"", b"x" * 8, b"x" * 9, b"\x00" * 8, np.array([np.nan, 1], "<f4").tobytes()])
async def test_what_another_program_wrote_is_no_vector(
    server: Redis, tmp_path: Path, tier_at: TierAt, value: bytes
) -> None:
    with server.owner() as owner:
        owner.set(f"{PREFIX}foreign:m:a", value)
        owner.lpush(f"{PREFIX}foreign:m:list", "x")
    found = await tier_at(settings(server, tmp_path), namespace="foreign").get(["m:a", "m:list"])
    assert found == {}


# ------------------------------------------------------------------------------------------- refusals


async def test_a_wrong_password_is_told_without_it(
    tmp_path: Path, tier_at: TierAt, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server(password=True) as server:
        assert server.password is not None
        for login in ((None, "wrong-secret"), ("nobody", "wrong-secret")):
            tier = tier_at(settings(server, tmp_path, login=login))
            said = await refused(lambda tier=tier: tier.get(["m:a"]))  # type: ignore[misc]
            assert "does not accept the user name or password: check spec.embedding.cache.redis" in said
            assert "wrong-secret" not in said + caplog.text
        unnamed = RedisSettings(url=server.url, username_file=None, password_file=None, ca_file=None)
        assert "does not accept" in await refused(lambda: tier_at(unnamed).get(["m:a"]))


async def test_a_password_that_was_changed_is_read_again(tmp_path: Path, tier_at: TierAt, clock: Clock) -> None:
    with redis_server(password=True) as server:
        asked = settings(server, tmp_path, login=(None, "old"))
        tier = tier_at(asked)
        await refused(lambda: tier.get(["m:a"]))
        rewrite(asked, server.password)
        clock.now += redis_connection.PAUSE_SECONDS
        await tier.put({"m:a": ONE})
        assert len(await tier.get(["m:a"])) == 1


async def test_credentials_that_are_not_there_are_told(server: Redis, tmp_path: Path, tier_at: TierAt) -> None:
    asked = settings(server, tmp_path, login=(None, "any"))
    rewrite(asked, None)
    assert "a file with its credentials is missing" in await refused(lambda: tier_at(asked).get(["m:a"]))


async def test_the_rights_that_are_told_are_enough_and_no_less_is(tmp_path: Path, tier_at: TierAt) -> None:
    rights = PURPOSE.rights.replace("on keys ", "")
    users = [f"user lectern on >pw {rights}", f"user reader on >pw ~{PREFIX}* +mget", "user nobody on >pw ~* +ping"]
    with redis_server(lines=users) as server:
        tiers = [tier_at(settings(server, tmp_path, login=(name, "pw"))) for name in ("lectern", "reader")]
        for tier in tiers:
            assert await tier.get(["m:a"]) == {}
        await tiers[0].put({"m:a": ONE})
        assert f"the user lacks rights: allow it {PURPOSE.rights}" in await refused(lambda: tiers[1].put({"m:a": ONE}))
        assert len(await tiers[1].get(["m:a"])) == 1  # reading goes on
        stranger = tier_at(settings(server, tmp_path, login=("nobody", "pw")))
        assert "lacks rights" in await refused(lambda: stranger.get(["m:a"]))


async def test_tls_works_with_the_authority_and_its_lack_is_told(tmp_path: Path, tier_at: TierAt) -> None:
    with redis_server(tls=True, password=True) as server:
        tier = tier_at(settings(server, tmp_path))
        await tier.put({"m:a": ONE})
        assert len(await tier.get(["m:a"])) == 1
        plain = server.url.replace("rediss:", "redis:")
        untrusted = tier_at(settings(server, tmp_path, trusted=False))
        assert "not trusted or it speaks no TLS: check spec.embedding.cache.redis.caSecretRef" in await refused(
            lambda: untrusted.get(["m:a"])
        )
        await refused(lambda: tier_at(settings(server, tmp_path, url=plain)).get(["m:a"]))


async def test_tls_asked_of_a_plain_server_is_told(server: Redis, tmp_path: Path, tier_at: TierAt) -> None:
    secure = server.url.replace("redis:", "rediss:")
    tier = tier_at(settings(server, tmp_path, url=secure))
    assert "for rediss that it speaks TLS" in await refused(lambda: tier.get(["m:a"]))


# --------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "volatile-ttl"])
async def test_a_server_with_a_bound_stays_within_it(tmp_path: Path, tier_at: TierAt, policy: str) -> None:
    bound = 4 << 20
    with redis_server(lines=[f"maxmemory {bound}", f"maxmemory-policy {policy}"]) as server:
        tier = tier_at(settings(server, tmp_path), dimensions=384)
        await tier.put(WIDE)
        kept = await tier.get(list(WIDE))
        assert 100 < len(kept) < len(WIDE)
        assert all(np.array_equal(vector, WIDE[key]) for key, vector in kept.items())
        with server.owner() as owner:
            assert owner.info("memory")["used_memory"] < bound * 1.5


async def test_a_full_server_that_evicts_nothing_is_read_and_the_way_out_is_told(
    tmp_path: Path, tier_at: TierAt
) -> None:
    with redis_server(lines=["maxmemory 4mb", "maxmemory-policy noeviction"]) as server:
        tier = tier_at(settings(server, tmp_path), dimensions=384)
        assert "set maxmemory-policy allkeys-lru" in await refused(lambda: tier.put(WIDE))
        assert 100 < len(await tier.get(list(WIDE))) < len(WIDE)
        assert "it is asked again soon" in await refused(lambda: tier.put({"m:1": WIDE["m:1"]}))


async def test_a_replica_is_read_and_its_refusal_told(own: Redis, tmp_path: Path, tier_at: TierAt) -> None:
    tier = tier_at(settings(own, tmp_path))
    await tier.put({"m:a": ONE})
    (nobody,) = free_ports(1)
    with own.owner() as owner:
        owner.replicaof("127.0.0.1", nobody)
    assert "it is a replica" in await refused(lambda: tier.put({"m:b": ONE}))
    assert len(await tier.get(["m:a"])) == 1


# --------------------------------------------------------------------------------------------- outage


async def test_a_server_that_is_away_costs_one_attempt_and_then_none(
    server: Redis, tmp_path: Path, tier_at: TierAt, caplog: pytest.LogCaptureFixture
) -> None:
    (nobody,) = free_ports(1)
    tier = tier_at(settings(server, tmp_path, url=f"redis://127.0.0.1:{nobody}"))
    with caplog.at_level(logging.WARNING):
        first = await refused(lambda: tier.get(["m:a"]))
        began = time.monotonic()
        later = [await refused(lambda: tier.put({"m:a": ONE})) for _ in range(1000)]
    assert "cannot be reached: check spec.embedding.cache.redis.url" in first
    assert all("asked again soon" in each for each in later)
    assert time.monotonic() - began < 1.0
    assert len([each for each in caplog.records if each.name == "lectern.redis"]) == 1


async def test_a_silent_server_costs_one_bounded_wait(
    own: Redis, tmp_path: Path, tier_at: TierAt, clock: Clock
) -> None:
    tier = tier_at(settings(own, tmp_path))
    await tier.put({"m:a": ONE, "m:b": TWO})
    own.pause()
    began = time.monotonic()
    assert "does not answer in time" in await refused(lambda: tier.get(["m:a"]))
    assert time.monotonic() - began < redis_connection.CALL_SECONDS + 1.0
    assert "asked again soon" in await refused(lambda: tier.get(["m:a"]))
    own.resume()
    clock.now += redis_connection.PAUSE_SECONDS
    found = await tier.get(["m:b"])  # and no answer of the call that was given up
    assert {key: vector.tolist() for key, vector in found.items()} == {"m:b": [0, 1]}


@pytest.mark.parametrize("end", [Redis.kill, Redis.stop])
async def test_a_restart_between_two_calls_is_not_noticed(
    own: Redis, tmp_path: Path, tier_at: TierAt, end: Callable[[Redis], None]
) -> None:
    tier = tier_at(settings(own, tmp_path))
    await tier.put({"m:a": ONE})
    await asyncio.gather(*(tier.get(["m:a"]) for _ in range(20)))  # every connection of the pool is open
    end(own)
    own.start()
    found = await asyncio.gather(*(tier.get(["m:a"]) for _ in range(20)))
    assert [len(each) for each in found] == [1] * 20


async def test_a_server_that_comes_back_is_used_again(
    own: Redis, tmp_path: Path, tier_at: TierAt, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tier = tier_at(settings(own, tmp_path))
    await tier.put({"m:a": ONE})
    own.kill()
    await refused(lambda: tier.get(["m:a"]))
    own.start()
    clock.now += redis_connection.PAUSE_SECONDS
    await until_works(lambda: tier.get(["m:a"]))
    assert len(await tier.get(["m:a"])) == 1
    assert f"Redis at {own.url} answers again" in caplog.text


async def test_a_hundred_calls_at_once_share_the_few_connections(
    server: Redis, tmp_path: Path, tier_at: TierAt
) -> None:
    tier = tier_at(settings(server, tmp_path))
    await tier.put({"m:many": ONE})
    found = await asyncio.gather(*(tier.get(["m:many"]) for _ in range(100)))
    assert [len(each) for each in found] == [1] * 100
    with server.owner() as owner:
        assert len(owner.client_list()) <= redis_connection.CONNECTIONS + 5


async def test_closing_leaves_no_connection(own: Redis, tmp_path: Path, tier_at: TierAt) -> None:
    tier = tier_at(settings(own, tmp_path))
    await asyncio.gather(*(tier.get(["m:a"]) for _ in range(20)))
    await tier.close()
    with own.owner() as owner:
        async with asyncio.timeout(5.0):
            while len(owner.client_list()) > 1:
                await asyncio.sleep(0.02)
