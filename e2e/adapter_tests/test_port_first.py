"""A runtime answers at its port before anything behind it does, waits for the world, and ends when it is told to.

The programs are real processes; the store is a double of a Qdrant server, the embedding server one of TEI.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.adapter_tests.operated import OperatedStore
from e2e.testbed.process import free_ports
from e2e.testbed.qdrant_double import QdrantDouble, qdrant_double
from lectern_contract import names, settings
from lectern_contract.settings import (
    AnySettings,
    EmbeddedLog,
    EmbedderSettings,
    ModelServerSettings,
    QdrantStore,
)
from lectern_runtime.ports import CollectionSpec
from lectern_runtime_tests.adapters import embedding_servers as models
from lectern_runtime_tests.pipeline import worker_settings
from lectern_runtime_tests.query.world import knowledge_base, query_settings

ANSWERS_SECONDS = 20.0
READY_SECONDS = 60.0
STOPS_SECONDS = 15.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[QdrantDouble]:
    """A server that is away at first."""
    with qdrant_double(tmp_path / "qdrant") as double:
        double.stop()
        yield double


@pytest.fixture
def model() -> Iterator[models.EmbeddingServer]:
    with models.running(models.tei) as running:
        yield running


def embedder(url: str) -> EmbedderSettings:
    return EmbedderSettings(
        model="words",
        revision="main",
        dimensions=models.DIMENSIONS,
        max_input_tokens=models.LONGEST,
        query_prefix="",
        document_prefix="",
        source=ModelServerSettings(url=url, protocol="TEI", api_key_file=None, ca_file=None),
    )


def qdrant_at(double: QdrantDouble) -> QdrantStore:
    return QdrantStore(url=double.url, shard_by="TenantAndAccessLevel", api_key_file=None, ca_file=None)


@contextmanager
def running(program: str, loaded: AnySettings, directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program as a process with these settings, and its URL."""
    file, (port,) = directory / f"{program}.json", free_ports(1)
    file.write_text(settings.canonical(loaded))
    command = [sys.executable, "-m", f"lectern_runtime.{program}", "--settings", str(file), "--port", str(port)]
    command += ["--data-dir", str(directory / "data")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def until(url: str, wanted: Callable[[httpx.Response], bool], seconds: float) -> httpx.Response:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            response = httpx.get(url, timeout=5.0)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if wanted(response):
            return response
        time.sleep(0.05)
    raise AssertionError(f"{url} did not answer as wanted within {seconds:.0f} s")


def asked(url: str, body: Any = None) -> httpx.Response:
    return httpx.get(url) if body is None else httpx.post(url, json=body, timeout=10.0)


def stopped(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=STOPS_SECONDS)
    return process.returncode, errors


def is_status(status: int) -> Callable[[httpx.Response], bool]:
    return lambda response: response.status_code == status


async def test_a_worker_whose_store_is_away_answers_waits_and_works_once_it_is_there(
    store: QdrantDouble, model: models.EmbeddingServer, tmp_path: Path
) -> None:
    loaded = worker_settings(store=qdrant_at(store), embedder=embedder(model.url), log=EmbeddedLog())
    spec = CollectionSpec(
        names.collection(loaded.namespace, loaded.knowledge_base, loaded.generation),
        models.DIMENSIONS,
        loaded.sparse_language is not None,
        loaded.index_identity,
    )
    with running("embed", loaded, tmp_path) as (process, url):
        assert until(f"{url}/livez", is_status(200), ANSWERS_SECONDS).json() == {"live": True}
        away = until(f"{url}/readyz", lambda answer: "vector store" in answer.text, ANSWERS_SECONDS)
        assert (away.status_code, away.json()["ready"]) == (503, False)
        assert asked(f"{url}/configz").json()["config_hash"] == settings.config_hash(loaded)
        assert asked(f"{url}/metrics").status_code == 200
        store.start()
        until(f"{url}/readyz", lambda answer: "no collection or alias" in answer.text, READY_SECONDS)
        operated = OperatedStore(store.url, None, qdrant_at(store))
        await operated.ensure_collection(spec)
        await operated.close()
        until(f"{url}/readyz", is_status(200), READY_SECONDS)
        assert process.poll() is None
        code, errors = stopped(process)
    assert code == 0, errors


@pytest.mark.parametrize("program", ["embed", "query"])
async def test_a_runtime_that_waits_ends_at_once_when_it_is_told_to(
    store: QdrantDouble, model: models.EmbeddingServer, tmp_path: Path, program: str
) -> None:
    for_worker = worker_settings(store=qdrant_at(store), embedder=embedder(model.url), log=EmbeddedLog())
    for_query = query_settings(
        knowledge_bases=(knowledge_base(store=qdrant_at(store), embedder=embedder(model.url)),), log=EmbeddedLog()
    )
    loaded: AnySettings = for_worker if program == "embed" else for_query
    with running(program, loaded, tmp_path) as (process, url):
        until(f"{url}/livez", is_status(200), ANSWERS_SECONDS)
        assert asked(f"{url}/readyz").status_code == 503
        assert asked(f"{url}/configz").json()["config_hash"] == settings.config_hash(loaded)
        began = time.monotonic()
        code, errors = stopped(process)
        assert time.monotonic() - began < 10
    assert code == 0, errors


async def test_a_query_runtime_is_ready_when_its_store_has_come(
    store: QdrantDouble, model: models.EmbeddingServer, tmp_path: Path
) -> None:
    kb = knowledge_base(store=qdrant_at(store), embedder=embedder(model.url))
    loaded = query_settings(knowledge_bases=(kb,), log=EmbeddedLog())
    with running("query", loaded, tmp_path) as (process, url):
        assert until(f"{url}/livez", is_status(200), ANSWERS_SECONDS).json() == {"status": "ok"}
        until(f"{url}/readyz", lambda answer: "the vector store does not answer" in answer.text, READY_SECONDS)
        store.start()
        operated = OperatedStore(store.url, None, qdrant_at(store))
        spec = CollectionSpec("ns.guides.g1", models.DIMENSIONS, sparse=True, identity="identity")
        await operated.ensure_collection(spec)
        await operated.point_alias(kb.alias, spec.name)
        await operated.close()
        until(f"{url}/readyz", is_status(200), READY_SECONDS)
        answered = asked(f"{url}/v1/query", {"question": "word word"})
        assert process.poll() is None
        code, errors = stopped(process)
    assert code == 0, errors
    assert (answered.status_code, answered.json()["citations"]) == (200, []), answered.text


def test_a_wrong_setting_ends_a_runtime_with_status_2_and_one_sentence(
    store: QdrantDouble, model: models.EmbeddingServer, tmp_path: Path
) -> None:
    wrong = embedder(model.url).model_copy(update={"dimensions": 5})
    loaded = worker_settings(store=qdrant_at(store), embedder=wrong, log=EmbeddedLog())
    with running("embed", loaded, tmp_path) as (process, _):
        _, errors = process.communicate(timeout=READY_SECONDS)
    assert process.returncode == 2
    assert "spec.embedding.dimensions is 5, but acme/words gives vectors of 8" in errors.splitlines()[-1]
