"""Health, configuration, metrics, logs, the page, the OpenAPI document, and the program itself."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from lectern_contract import settings as contract
from lectern_contract.errors import ConfigurationError, SettingsInvalid
from lectern_contract.query_settings import AuthSettings
from lectern_contract.settings import QuerySettings
from lectern_runtime import api_keys, programs
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.errors import EmbedderFailed
from lectern_runtime.query.app import create_app, openapi_document
from lectern_runtime.telemetry.logging import JsonFormatter, configure
from lectern_runtime_tests.query import issuer
from lectern_runtime_tests.query.world import World, cached, calling, knowledge_base, query_settings

REPOSITORY = Path(__file__).resolve().parents[3]
QUESTION = "When is a refund paid to the card?"


async def test_ready_when_the_alias_resolves_and_the_embedder_answers(world: World) -> None:
    async with calling(world.app()) as client:
        response = await client.get("/readyz")
        alive = await client.get("/livez")
    assert (response.status_code, alive.json()) == (200, {"status": "ok"})
    assert response.json() == {
        "ready": True,
        "components": [
            {"name": "index/guides", "ready": True, "detail": "alias ns.guides stands for ns.guides.g1"},
            {"name": "embedder/guides", "ready": True, "detail": "stub answers"},
        ],
    }


@pytest.mark.parametrize("broken", ["index", "embedder", "dimensions"])
async def test_not_ready_says_which_component(empty_world: World, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(_: object) -> object:
        raise EmbedderFailed("secret place", dependency="embedder")

    if broken != "index":
        await empty_world.index()
    settings = query_settings()
    if broken == "embedder":
        monkeypatch.setattr(empty_world.embedder, "embed", failing)
    if broken == "dimensions":
        embedder = settings.knowledge_bases[0].embedder.model_copy(update={"dimensions": 7})
        settings = query_settings(knowledge_bases=(knowledge_base(embedder=embedder),))
    async with calling(empty_world.app(settings)) as client:
        response = await client.get("/readyz")
    states = {each["name"].split("/")[0]: each["ready"] for each in response.json()["components"]}
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert states == {"index": broken != "index", "embedder": broken == "index"}
    assert "secret" not in response.text


async def test_configz_tells_what_was_loaded_and_no_secret(world: World) -> None:
    url = "http://user:hunter2@qdrant"  # secret-scan: allow, it must not be told
    store = contract.QdrantStore(url=url, shard_by="Tenant", api_key_file="/etc/key", ca_file=None)
    settings = query_settings(knowledge_bases=(knowledge_base(store=store),))
    async with calling(world.app(settings)) as client:
        response = await client.get("/configz")
    assert response.json() == {
        "runtime": "query",
        "namespace": "ns",
        "name": "desk",
        "config_hash": "c0ffee",
        "settings_version": 1,
        "version": "1.2.3",
        "generator": "extractive",
        "answer_cache": False,
        "knowledge_bases": [
            {
                "name": "guides",
                "alias": "ns.guides",
                "collection": "ns.guides.g1",
                "embedding_model": "stub",
                "embedding_revision": "1",
            }
        ],
    }
    assert "hunter2" not in response.text


async def test_metrics_have_their_promised_names(world: World) -> None:
    async with calling(world.app()) as client:
        await client.post("/v1/query", json={"question": QUESTION})
        await client.post("/v1/query", json={"question": "What is the capital of Australia?"})
        await client.post("/v1/query", json={})
        shown = (await client.get("/metrics")).text
    for line in (
        'rag_queries_total{outcome="answered",route="/v1/query"} 1.0',
        'rag_queries_total{outcome="refused",route="/v1/query"} 1.0',
        'rag_queries_total{outcome="body_invalid",route="/v1/query"} 1.0',
        'rag_query_duration_seconds_count{route="/v1/query"} 3.0',
        'rag_stage_duration_seconds_count{stage="embed"} 2.0',
        'rag_stage_duration_seconds_count{stage="generate"} 1.0',
        'rag_errors_total{code="body_invalid"} 1.0',
        "rag_active_requests 0.0",
        'rag_config_info{config_hash="c0ffee",endpoint="desk",version="1.2.3"} 1.0',
        "rag_cache_misses_total 0.0",
    ):
        assert line in shown.splitlines()


async def test_made_up_paths_make_no_new_metrics(world: World) -> None:
    async with calling(world.app()) as client:
        for number in range(5):
            await client.post(f"/v1/made-up-{number}")
        shown = (await client.get("/metrics")).text
    assert 'rag_queries_total{outcome="not_found",route="unknown"} 5.0' in shown
    assert "made-up" not in shown


@pytest.mark.parametrize("allowed", [False, True])
async def test_questions_are_logged_only_where_asked_for(
    world: World, caplog: pytest.LogCaptureFixture, *, allowed: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    async with calling(world.app(query_settings(log_query_text=allowed))) as client:
        body = (await client.post("/v1/query", json={"question": QUESTION}, headers={"X-Request-ID": "r-1"})).json()
    written = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    (line,) = [line for line in written if line["message"] == "request" and line["route"] == "/v1/query"]
    assert (line["request_id"], line["status"], line["outcome"], line["cache"]) == ("r-1", 200, "answered", "off")
    assert line["milliseconds"] > 0
    assert (line.get("question") == QUESTION) is allowed
    everything = json.dumps(written)
    assert (QUESTION in everything) is allowed
    assert "original card" not in everything
    assert body["citations"][0]["text"] not in everything


def test_log_lines_are_json_without_the_text_of_exceptions() -> None:
    stream = io.StringIO()
    before = logging.root.handlers[:], logging.root.level
    try:
        configure("INFO", stream)
        try:
            raise ValueError("a document's secret")
        except ValueError:
            logging.getLogger("x").exception("failed", extra={"topic": "t"})
        logging.getLogger("x").debug("not shown")
    finally:
        logging.root.handlers[:], level = before
        logging.root.setLevel(level)
    (line,) = [json.loads(each) for each in stream.getvalue().splitlines()]
    assert (line["level"], line["message"], line["topic"], line["exception"]) == ("ERROR", "failed", "t", "ValueError")
    assert "secret" not in stream.getvalue()
    assert line["at"][0].startswith("test_service.py:")


async def test_the_page_runs_only_what_stands_in_it(world: World) -> None:
    async with calling(world.app()) as client:
        response = await client.get("/")
    policy, page = response.headers["content-security-policy"], response.text
    assert policy.startswith("default-src 'none'; connect-src 'self'")
    assert "unsafe" not in policy
    for element in ("script", "style"):
        (body,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page) == []
    assert [
        word
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", " style=", " onclick=")
        if word in page
    ] == []
    assert '<html lang="en">' in page
    assert 'aria-live="polite"' in page


def test_the_committed_openapi_document_is_what_the_app_says(world: World) -> None:
    committed = json.loads((REPOSITORY / "docs/reference/openapi.json").read_text(encoding="utf-8"))
    assert committed == openapi_document()
    served = {**world.app().openapi(), "info": committed["info"]}
    assert served == committed


def test_the_openapi_document_describes_problems_of_every_route_under_v1() -> None:
    document = openapi_document()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/"):
                assert "application/problem+json" in operation["responses"]["503"]["content"]
    assert {"code", "title", "detail", "status", "errors"} <= set(
        document["components"]["schemas"]["Problem"]["properties"]
    )
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_settings_that_cannot_work_together_are_said_when_the_app_is_made(world: World) -> None:
    settings = query_settings(mode="Sparse", knowledge_bases=(knowledge_base(sparse_language=None),))
    with pytest.raises(ConfigurationError, match=r"retrieval\.mode is Sparse"):
        world.app(settings)


async def test_without_terms_in_the_index_a_hybrid_endpoint_searches_by_vector(world: World) -> None:
    settings = query_settings(knowledge_bases=(knowledge_base(sparse_language=None),))
    async with calling(world.app(settings)) as client:
        body = (await client.post("/v1/retrieve", json={"query": QUESTION})).json()
    assert body["hits"][0]["uri"] == "returns.md"
    assert {hit["scores"]["sparse"] for hit in body["hits"]} == {None}


# --------------------------------------------------------------------------------------------- program


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "name the settings file"),
        ("{}", "settings.json"),
        (contract.canonical(query_settings()).replace('"desk"', '"desk", "extra": 1'), "extra"),
    ],
)
def test_settings_that_cannot_be_read_are_said(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "settings.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsInvalid, match=message):
        programs.load_settings(path, QuerySettings)


def test_a_fault_of_the_configuration_is_exit_status_2(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(contract.canonical(query_settings()))
    assert programs.load_settings(path, QuerySettings) == query_settings()
    done = subprocess.run(
        [sys.executable, "-m", "lectern_runtime.query", "--settings", str(path), "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "data directory" in json.loads(done.stderr.splitlines()[-1])["message"]


@pytest.mark.slow
def test_the_program_serves_until_it_is_told_to_stop_and_closes_what_it_opened(tmp_path: Path) -> None:
    embedder = contract.EmbedderSettings(
        model="sentence-transformers/all-MiniLM-L6-v2",
        revision="main",
        dimensions=384,
        max_input_tokens=256,
        query_prefix="",
        document_prefix="",
        source=contract.InProcessModel(),
    )
    path, data = tmp_path / "settings.json", tmp_path / "data"
    key, digest = api_keys.new_key("reader")
    (keys := tmp_path / "keys").mkdir()
    file = {"sha256": digest, "tenant": "acme", "access_levels": ["public"], "scopes": ["query"]}
    (keys / "reader").write_text(json.dumps(file))
    auth = AuthSettings(anonymous=None, jwt=issuer.jwt_settings(), api_keys_directory=str(keys))
    settings = query_settings(knowledge_bases=(knowledge_base(embedder=embedder),), cache=cached(), auth=auth)
    path.write_text(contract.canonical(settings))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} of 127.0.0.1 cannot be used"):
            programs.listening("127.0.0.1", port)
    arguments = ["--settings", str(path), "--data-dir", str(data), "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "lectern_runtime.query", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            until_it_answers(f"http://127.0.0.1:{port}/readyz", lambda body: body["components"][0]["name"] != "opening")
            loaded = until_it_answers(f"http://127.0.0.1:{port}/configz")
            let_in = [
                httpx.get(f"http://127.0.0.1:{port}/v1/models", headers={"Authorization": f"Bearer {each}"}).status_code
                for each in (key, key + "x", issuer.token())
            ]
        finally:
            running.terminate()
        _, errors = running.communicate(timeout=20)
    assert running.returncode == 0
    assert (loaded["config_hash"], loaded["answer_cache"]) == (contract.config_hash(settings), True)
    assert let_in == [200, 401, 503]  # nothing listens where the issuer's keys should be
    assert [json.loads(line)["level"] for line in errors.splitlines()].count("ERROR") == 0
    with DataDirectory.open(data, created_by="test"):
        pass  # it was given free


def until_it_answers(url: str, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
    for _ in range(200):
        try:
            body: dict[str, Any] = httpx.get(url).json()
        except httpx.ConnectError:
            time.sleep(0.1)
        else:
            if wanted(body):
                return body
            time.sleep(0.05)
    raise AssertionError(f"nothing that is wanted answers at {url}")


def test_two_apps_do_not_share_anything(world: World) -> None:
    first, second = world.app(), world.app(query_settings(name="other"))
    assert create_app.__module__ == "lectern_runtime.query.app"
    assert first.state.runtime is not second.state.runtime
    assert (first.state.runtime.settings.name, second.state.runtime.settings.name) == ("desk", "other")
