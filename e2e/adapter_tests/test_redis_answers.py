"""The answer cache of several pods on a real Redis keeps the contract of every answer cache, and its bounds."""

from __future__ import annotations

import asyncio
import multiprocessing
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from e2e.adapter_tests.redis_world import Clock, refused, settings
from e2e.testbed.redis import Redis, redis_server
from lectern_contract.errors import DependencyError
from lectern_contract.ids import DocumentId
from lectern_contract.settings_parts import RedisSettings
from lectern_runtime.adapters import redis_answers, redis_connection
from lectern_runtime.adapters.redis_answers import PREFIX, PURPOSE, RedisAnswers
from lectern_runtime.adapters.redis_connection import RedisServer
from lectern_runtime.ports import CachedAnswer
from lectern_runtime_tests.contracts.answer_cache_contract import A, Advance, AnswerCacheContract, B, answer, keep

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with redis_server() as found:
        yield found


@pytest.fixture
def own() -> Iterator[Redis]:
    """A server for tests that end it or look at everything in it; what it took is on its disk at once."""
    with redis_server(append_only="always") as found:
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


class CacheAt(Protocol):
    """Opens a cache at a server; the test's end closes it."""

    def __call__(self, asked: RedisSettings, *, space: str = "team/docs", **bounds: int) -> RedisAnswers: ...


@pytest.fixture
async def cache_at(clock: Clock) -> AsyncIterator[CacheAt]:
    async with AsyncExitStack() as stack:

        def cache_at(asked: RedisSettings, *, space: str = "team/docs", **bounds: int) -> RedisAnswers:
            opened = RedisServer.open(asked, PURPOSE)
            opened.clock = clock
            cache = RedisAnswers(opened, space=space, **bounds)
            stack.push_async_callback(cache.close)
            return cache

        yield cache_at


@pytest.fixture
def space() -> str:
    return f"team/{uuid.uuid4().hex}"


@pytest.fixture(params=["7", "8"], scope="module")
def either(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A server of each release, with and without vector sets."""
    with redis_server(request.param) as found:
        yield found


class TestRedisAnswers(AnswerCacheContract):
    @pytest.fixture
    def cache(self, either: Redis, tmp_path: Path, cache_at: CacheAt, space: str) -> RedisAnswers:
        return cache_at(settings(either, tmp_path), space=space, max_entries=100)

    @pytest.fixture
    def advance(self) -> Advance:
        return asyncio.sleep


# --------------------------------------------------------------------------------------------- bounds


async def test_the_oldest_answers_go_when_it_is_full(
    server: Redis, tmp_path: Path, cache_at: CacheAt, space: str
) -> None:
    cache = cache_at(settings(server, tmp_path), space=space, max_entries=3)
    for number in range(5):
        await keep(cache, f"k{number}", answer(str(number), A))
    assert [await cache.get(f"k{number}") for number in range(5)] == [None, None, *(answer(n, A) for n in "234")]
    assert await cache.forget_document(A) == 3


async def test_an_answer_kept_again_counts_as_young(
    server: Redis, tmp_path: Path, cache_at: CacheAt, space: str
) -> None:
    cache = cache_at(settings(server, tmp_path), space=space, max_entries=2)
    for key in ("a", "b", "a", "c"):
        await keep(cache, key, answer(key))
    assert [await cache.get(key) for key in "abc"] == [answer("a"), None, answer("c")]


async def test_bytes_are_bounded(own: Redis, tmp_path: Path, cache_at: CacheAt) -> None:
    cache = cache_at(settings(own, tmp_path), max_bytes=100_000)
    assert not await keep(cache, "huge", answer("x" * 100_000))
    documents = [DocumentId(str(uuid.uuid4())) for _ in range(5)]
    for number in range(200):
        assert await keep(cache, f"{number:064x}", answer("x" * 2_000, *documents))
    kept = [number for number in range(200) if await cache.get(f"{number:064x}")]
    assert kept == list(range(200 - len(kept), 200))
    assert 20 <= len(kept) <= 50
    assert own_bytes(own) < 200_000


async def test_nothing_is_left_of_what_expired(own: Redis, tmp_path: Path, cache_at: CacheAt) -> None:
    cache = cache_at(settings(own, tmp_path))
    for number in range(50):
        await keep(cache, f"k{number}", answer("x", A, B), ttl=0.05)
    await asyncio.sleep(0.1)
    assert await cache.forget_document(A) == 0
    await keep(cache, "last", answer("y", B))
    with own.owner() as owner:
        fields = {field.decode()[:2] for field in owner.hkeys("lectern:answers:{team/docs}")}
        assert owner.hlen("lectern:answers:{team/docs}") < 20
    assert fields >= {"a:", "h:", "o:", "d:"}
    assert await cache.get("last") == answer("y", B)


async def test_changes_that_are_no_longer_remembered_refuse_answers_from_before_them(
    server: Redis, tmp_path: Path, cache_at: CacheAt, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_answers, "MOST_CHANGES", 10)
    cache = cache_at(settings(server, tmp_path), space=space)
    before = await cache.mark()
    await cache.forget_document(A)
    for number in range(10):
        await cache.forget_document(A if number == 3 else DocumentId(f"other-{number}"))
    assert await cache.put("k", answer("kept", B), ttl_seconds=60.0, since=before)
    for number in range(10):
        await cache.forget_document(DocumentId(f"more-{number}"))
    assert not await cache.put("k", answer("stale", A), ttl_seconds=60.0, since=before)
    assert not await cache.put("k", answer("from before", B), ttl_seconds=60.0, since=before)
    assert await keep(cache, "k", answer("new", A))


# ---------------------------------------------------------------------------------- one space, many pods


async def test_pods_share_a_space_and_spaces_do_not_meet(
    server: Redis, tmp_path: Path, cache_at: CacheAt, space: str
) -> None:
    one, other = (cache_at(settings(server, tmp_path), space=space) for _ in range(2))
    stranger = cache_at(settings(server, tmp_path), space=f"{space}2")
    before = await one.mark()
    await keep(one, "k", answer("one", A))
    assert await other.get("k") == answer("one", A)
    assert await stranger.get("k") is None
    assert await stranger.forget_document(A) == 0
    assert await other.forget_document(A) == 1
    assert await one.get("k") is None
    assert not await one.put("k", answer("stale", A), ttl_seconds=60.0, since=before)


async def test_closing_one_pod_leaves_the_answers(server: Redis, tmp_path: Path, cache_at: CacheAt, space: str) -> None:
    one, other = (cache_at(settings(server, tmp_path), space=space) for _ in range(2))
    await keep(one, "k", answer("one", A))
    await one.close()
    assert await other.get("k") == answer("one", A)


CHANGES = 150
RACE_SECONDS = 300.0


def race(url: str, space: str, number: int, found: Any) -> None:
    """A pod of its own: the first changes the document, the others answer from the version that they read."""
    asked = RedisSettings(url=url, username_file=None, password_file=None, ca_file=None)
    found.put(asyncio.run(_race(asked, space, changes=number == 0)))


async def _race(asked: RedisSettings, space: str, *, changes: bool) -> tuple[int, int, int]:
    """Return the versions written, the answers kept and the stale answers seen.

    The document lies in the same server: its version is raised before it is forgotten, as an index is written before
    its event. An answer whose version is older than one that had been forgotten before it was asked for is stale.
    """
    opened, clock = RedisServer.open(asked, PURPOSE), Clock()
    opened.clock = clock
    cache, store = RedisAnswers(opened, space=space), opened.client
    written = kept = stale = 0
    while written < CHANGES and not int(await store.get(f"{space}:done") or 0):
        try:
            if changes:
                version = int(await store.incr(f"{space}:version"))
                await cache.forget_document(A)
                await store.eval(_RAISE, 1, f"{space}:forgotten", version)  # type: ignore[misc]
                written += 1
                await asyncio.sleep(0.002)
                continue
            forgotten = int(await store.get(f"{space}:forgotten") or 0)
            hit = await cache.get("k")
            if hit is not None:
                stale += int(hit.value) < forgotten
                continue
            since = await cache.mark()
            version = int(await store.get(f"{space}:version") or 0)
            kept += await cache.put("k", answer(str(version), A), ttl_seconds=60.0, since=since)
        except DependencyError:  # a busy machine: the next try is not held back
            clock.now += redis_connection.PAUSE_SECONDS
    await store.set(f"{space}:done", 1)
    await cache.close()
    return written, kept, stale


_RAISE = """
local version = tonumber(redis.call('GET', KEYS[1]) or 0)
if tonumber(ARGV[1]) > version then redis.call('SET', KEYS[1], ARGV[1]) end
"""


def test_processes_that_race_never_see_an_answer_of_a_version_that_was_forgotten(server: Redis, space: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    found: Any = spawn.Queue()
    pods = [spawn.Process(target=race, args=(server.url, space, number, found)) for number in range(3)]
    for pod in pods:
        pod.start()
    results = [found.get(timeout=RACE_SECONDS) for _ in pods]
    for pod in pods:
        pod.join()
    written, kept, stale = (sum(each) for each in zip(*results, strict=True))
    assert (written, stale) == (CHANGES, 0)
    assert kept > 0


# ----------------------------------------------------------------------------- what happens to the server


@pytest.mark.parametrize("keep_data", [True, False])
async def test_a_server_that_was_restarted_begins_with_nothing(
    own: Redis, tmp_path: Path, cache_at: CacheAt, keep_data: bool
) -> None:
    cache = cache_at(settings(own, tmp_path))
    before = await cache.mark()
    await keep(cache, "k", answer("one", A))
    own.kill()
    if not keep_data and own.directory is not None:
        for file in (own.directory / "appendonlydir").iterdir():
            await asyncio.to_thread(file.unlink)
    own.start()
    with own.owner() as owner:
        assert bool(owner.dbsize()) == keep_data
    assert await cache.get("k") is None
    assert not await cache.put("k", answer("from before", B), ttl_seconds=60.0, since=before)
    assert await keep(cache, "k", answer("new", A))
    assert await cache.get("k") == answer("new", A)


async def test_a_space_that_was_flushed_refuses_what_was_marked_before(
    own: Redis, tmp_path: Path, cache_at: CacheAt
) -> None:
    cache = cache_at(settings(own, tmp_path))
    before = await cache.mark()
    with own.owner() as owner:
        owner.flushall()
    assert await cache.forget_document(B) == 0
    assert not await cache.put("k", answer("stale", A), ttl_seconds=60.0, since=before)
    assert await keep(cache, "k", answer("new", A))


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "noeviction"])
async def test_on_a_full_server_a_changed_document_is_still_forgotten(
    tmp_path: Path, cache_at: CacheAt, policy: str
) -> None:
    with redis_server(lines=["maxmemory 3mb", f"maxmemory-policy {policy}"]) as small:
        cache = cache_at(settings(small, tmp_path), max_bytes=1 << 20)
        for number in range(50):
            await keep(cache, f"k{number}", answer("x" * 4_000, A if number % 2 else B))
        with small.owner() as owner:
            owner.config_set("maxmemory", "1mb")  # it is full from now on
        await cache.forget_document(A)
        assert [await cache.get(f"k{number}") for number in range(1, 50, 2)] == [None] * 25


async def test_a_full_server_keeps_no_answer_and_says_how_to_help(tmp_path: Path, cache_at: CacheAt) -> None:
    with redis_server(lines=["maxmemory-policy noeviction"]) as small:
        cache = cache_at(settings(small, tmp_path))
        since = await cache.mark()
        with small.owner() as owner:
            owner.config_set("maxmemory", "100kb")
        said = await refused(lambda: cache.put("k", answer("x", A), ttl_seconds=60.0, since=since))
        assert "set maxmemory-policy allkeys-lru" in said
        assert await cache.get("k") is None


async def test_a_server_that_is_away_costs_one_attempt_and_then_none(
    own: Redis, tmp_path: Path, cache_at: CacheAt, clock: Clock
) -> None:
    cache = cache_at(settings(own, tmp_path))
    await keep(cache, "k", answer("one", A))
    own.kill()
    assert "cannot be reached" in await refused(lambda: cache.get("k"))
    for call in (cache.mark, lambda: cache.get("k"), lambda: cache.forget_document(A)):
        assert "asked again soon" in await refused(call)
    own.start()
    clock.now += redis_connection.PAUSE_SECONDS
    assert await cache.get("k") is None
    assert await keep(cache, "k", answer("two", A))


async def test_the_rights_that_are_told_are_enough(tmp_path: Path, cache_at: CacheAt) -> None:
    rights = PURPOSE.rights.replace("on keys ", "")
    with redis_server(lines=[f"user lectern on >pw {rights}", "user nobody on >pw ~* +ping"]) as server:
        cache = cache_at(settings(server, tmp_path, login=("lectern", "pw")), max_entries=2)
        for key in "abc":
            assert await keep(cache, key, answer(key, A))
        assert await cache.get("c") == answer("c", A)
        assert await cache.forget_document(A) == 2
        stranger = cache_at(settings(server, tmp_path, login=("nobody", "pw")))
        assert f"allow it {PURPOSE.rights}" in await refused(lambda: stranger.get("c"))


async def test_a_key_of_another_program_is_told(server: Redis, tmp_path: Path, cache_at: CacheAt, space: str) -> None:
    with server.owner() as owner:
        owner.set(f"{PREFIX}{{{space}}}", "x")
    assert "refuses the command" in await refused(lambda: cache_at(settings(server, tmp_path), space=space).mark())


# ------------------------------------------------------------------------------------ what it costs, and says


async def test_a_document_behind_many_answers_goes_in_one_round_trip(
    own: Redis, tmp_path: Path, cache_at: CacheAt
) -> None:
    cache = cache_at(settings(own, tmp_path))
    for number in range(1000):
        await keep(cache, f"{number:064x}", answer("x" * 1000, A, B))
    await cache.forget_document(DocumentId("other"))  # the script is known to the server from now on
    with own.owner() as owner:
        owner.config_resetstat()
        assert await cache.forget_document(A) == 1000
        calls = {name: found["calls"] for name, found in owner.info("commandstats").items()}
        took = owner.info("commandstats")["cmdstat_evalsha"]["usec"]
    assert calls["cmdstat_evalsha"] == 1
    assert took < 1_000_000  # microseconds, on a busy machine; alone it takes a few thousand
    assert not {"cmdstat_keys", "cmdstat_scan", "cmdstat_hscan", "cmdstat_hgetall"} & set(calls)


async def test_no_question_lies_in_the_server(own: Redis, tmp_path: Path, cache_at: CacheAt) -> None:
    cache = cache_at(settings(own, tmp_path))
    await cache.mark()
    await keep(cache, "f" * 64, CachedAnswer(b"{}", frozenset({A})))
    with own.owner() as owner:
        assert owner.keys("*") == [b"lectern:answers:{team/docs}"]
        fields = {field.decode().partition(":")[0] for field in owner.hkeys("lectern:answers:{team/docs}")}
        assert owner.pttl("lectern:answers:{team/docs}") > 0
    assert fields == {"run", "epoch", "last", "first", "count", "bytes", "a", "h", "o", "d"}


def own_bytes(server: Redis) -> int:
    """Memory of the space, in bytes."""
    with server.owner() as owner:
        return int(owner.memory_usage("lectern:answers:{team/docs}", samples=0) or 0)
