"""The embedding worker as a program with a real Redis: what one has embedded no other embeds again, and none waits.

The embedder is the STUB of `e2e.ingest_faults`, which counts what it is asked to embed; the pipeline is real.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from e2e.adapter_tests import redis_world
from e2e.ingest_faults import stub_vectors
from e2e.testbed.process import Processes, free_ports
from e2e.testbed.redis import Redis, redis_server
from lectern_contract import settings
from lectern_contract.settings_parts import RedisSettings
from lectern_runtime_tests.pipeline import pipeline, worker_settings

pytestmark = pytest.mark.integration
DOCUMENTS = 120
WORK_SECONDS = 300.0
NAMES = [f"page-{number}.md" for number in range(DOCUMENTS)]


@dataclass
class Stub:
    """The running stub of an embedder."""

    url: str

    def embedded(self, *, workers: int) -> int:
        """Texts of documents that got a vector so far; each worker that ran has asked for one more, to try it."""
        return -workers + int(httpx.get(f"{self.url}/stub/counts", trust_env=False).json()["embedded"])

    def slow(self, seconds: float) -> None:
        """Let each call take so long."""
        httpx.post(f"{self.url}/stub/slow", json={"seconds": seconds}, trust_env=False).raise_for_status()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as found:
        yield found


@pytest.fixture
def stub(processes: Processes) -> Stub:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "e2e.ingest_faults.stub_embedder", "--port", str(port)]
    process = processes.start("stub", command)
    found = Stub(f"http://127.0.0.1:{port}")
    process.wait_until(lambda: _serves(found.url), 30.0)
    return found


def _serves(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


async def work(
    root: Path,
    stub: Stub,
    redis: RedisSettings,
    *,
    meanwhile: Callable[[], None] | None = None,
    max_input_tokens: int = stub_vectors.MAX_INPUT_TOKENS,
) -> dict[str, tuple[str, ...]]:
    """Let a worker program do all that is in the topic of a new base at `root`, and return what it made searchable."""
    await asyncio.to_thread(root.mkdir)
    async with pipeline(root) as found:
        await found.worker().ensure()
        await found.publish(*[await found.put(name, f"the text of {name}") for name in NAMES])
    server = settings.ModelServerSettings(url=stub.url, protocol="TEI", api_key_file=None, ca_file=None)
    embedder = worker_settings().embedder.model_copy(
        update={"source": server, "model": stub_vectors.MODEL, "max_input_tokens": max_input_tokens}
    )
    cache = settings.EmbeddingCacheSettings(max_entries=0, ttl_seconds=3600, redis=redis)
    asked = worker_settings(embedder=embedder, embedding_cache=cache)
    file = root / "settings.json"
    await asyncio.to_thread(file.write_text, settings.canonical(asked))
    (port,) = free_ports(1)
    arguments = ["-m", "lectern_runtime.embed", "--settings", str(file), "--data-dir", str(root / "data")]
    program = await asyncio.create_subprocess_exec(sys.executable, *arguments, "--port", str(port), "--once")
    try:
        async with asyncio.timeout(WORK_SECONDS):
            if meanwhile is not None:
                await asyncio.to_thread(meanwhile)
            assert await program.wait() == 0
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    async with pipeline(root) as found:
        return await found.content()


def whole() -> dict[str, tuple[str, ...]]:
    """What every worker has to make searchable."""
    return {f"public:{name}": (f"the text of {name}",) for name in NAMES}


async def test_a_second_worker_embeds_nothing_and_another_model_everything(tmp_path: Path, stub: Stub) -> None:
    with redis_server(password=True) as server:
        redis = redis_world.settings(server, tmp_path)
        assert await work(tmp_path / "one", stub, redis) == whole()
        assert stub.embedded(workers=1) == DOCUMENTS
        assert await work(tmp_path / "two", stub, redis) == whole()
        assert stub.embedded(workers=2) == DOCUMENTS
        assert await work(tmp_path / "three", stub, redis, max_input_tokens=48) == whole()
        assert stub.embedded(workers=3) == 2 * DOCUMENTS


@pytest.mark.parametrize("end", [Redis.kill, Redis.pause])
async def test_a_worker_whose_redis_goes_away_does_all_its_work(
    tmp_path: Path, stub: Stub, end: Callable[[Redis], None]
) -> None:
    stub.slow(0.1)
    with redis_server(append_only="always") as server:
        redis = redis_world.settings(server, tmp_path)
        assert await work(tmp_path / "one", stub, redis, meanwhile=lambda: _after_some(server, end)) == whole()
        assert stub.embedded(workers=1) == DOCUMENTS
        server.resume() if end is Redis.pause else server.start()
        assert await work(tmp_path / "two", stub, redis) == whole()
        after_two = stub.embedded(workers=2)
        assert DOCUMENTS < after_two < 2 * DOCUMENTS, "what was embedded before the end is kept, what came after not"
        assert await work(tmp_path / "three", stub, redis) == whole()
        assert stub.embedded(workers=3) == after_two


def _after_some(server: Redis, end: Callable[[Redis], None]) -> None:
    """End the server as soon as the worker has put something into it."""
    deadline = time.monotonic() + WORK_SECONDS
    with server.owner() as owner:
        while not owner.dbsize():
            assert time.monotonic() < deadline, "the worker put nothing into Redis"
            time.sleep(0.01)
    end(server)


async def test_a_worker_that_redis_does_not_let_in_does_all_its_work(tmp_path: Path, stub: Stub) -> None:
    with redis_server(password=True) as server:
        redis = redis_world.settings(server, tmp_path, login=(None, "wrong"))
        assert await work(tmp_path / "one", stub, redis) == whole()
        assert stub.embedded(workers=1) == DOCUMENTS
