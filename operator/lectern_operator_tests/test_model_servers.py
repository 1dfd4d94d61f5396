"""Servers of models: how long they may take to start, what they are told, and how others are told to reach them."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_contract import query_wiring, wiring
from lectern_contract.errors import ResourceInvalid
from lectern_contract.resources.common import ManagedServer, ModelCache
from lectern_contract.settings import ModelServerSettings
from lectern_operator.desired import knowledge_base as desired
from lectern_operator.desired import model_cache
from lectern_operator_tests import worlds

Manifest = dict[str, Any]


def server(*, monitored: bool = False, embedding: dict[str, Any] | None = None, **managed: Any) -> dict[str, Manifest]:
    """Return the manifests of an embedding server by kind."""
    paths = {f"embedding__{name}": value for name, value in (embedding or {}).items()}
    kb = worlds.knowledge_base(embedding__server__managed=managed, **paths)
    made = desired.manifests(kb, generation=1, replicas=1, scaled=False, monitored=monitored, images=worlds.IMAGES)
    return {each["kind"]: each for each in made if each["metadata"]["name"] == "docs-embedder"}


def pod(made: dict[str, Manifest]) -> Manifest:
    spec: Manifest = made["Deployment"]["spec"]["template"]["spec"]
    return spec


def environment(made: dict[str, Manifest]) -> dict[str, str]:
    (container,) = pod(made)["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (ManagedServer(), 1800),
        (ManagedServer(model_cache=ModelCache(size="1Gi")), 720),
        (ManagedServer(model_cache=ModelCache(size="512Mi")), 660),
        (ManagedServer(model_cache=ModelCache(size="80Gi")), 10_200),
        (ManagedServer(model_cache=ModelCache(size="2Ti")), 4 * 3600),
        (ManagedServer(model_cache=ModelCache(size="80Gi"), startup_seconds=61), 61),
    ],
)
def test_a_start_may_take_as_long_as_its_cache_has_room_or_as_the_spec_says(given: ManagedServer, seconds: int) -> None:
    assert model_cache.start_seconds(given) == seconds


def test_the_deployment_outlasts_the_start_and_the_probe_covers_it() -> None:
    made = server(startupSeconds=65)
    probe = pod(made)["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 70
    assert made["Deployment"]["spec"]["progressDeadlineSeconds"] == 665


def test_a_server_of_text_embeddings_is_told_what_its_image_says_otherwise() -> None:
    assert environment(server(embedding={"maxInputTokens": 32_768})) == {
        "AUTO_TRUNCATE": "false",
        "HF_HOME": "/data",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HUGGINGFACE_HUB_CACHE": "/data",
        "MAX_BATCH_TOKENS": "32768",
        "MAX_CLIENT_BATCH_SIZE": "64",
        "PAYLOAD_LIMIT": str(64 * 32_768 * 16),
        "PORT": "8080",
    }


def test_a_server_that_is_offline_asks_the_hub_for_nothing() -> None:
    told = environment(server(modelCache={"claimName": "weights", "offline": True}))
    assert (told["HF_HUB_OFFLINE"], told["HF_ENDPOINT"]) == ("1", "http://127.0.0.1:9")


def test_offline_needs_a_claim_that_is_filled_already() -> None:
    with pytest.raises(ResourceInvalid, match="offline needs claimName"):
        server(modelCache={"offline": True})


def test_no_token_and_no_key_of_a_model_server_is_in_its_pod() -> None:
    for engine in ("TextEmbeddings", "Vllm"):
        text = str(server(engine=engine)).upper()
        assert "TOKEN_PATH" not in text
        assert "HF_TOKEN" not in text
        assert "API_KEY" not in text


@pytest.mark.parametrize("capability", ["8.9", "12.0"])
def test_nodes_of_the_compute_capability_are_preferred(capability: str) -> None:
    affinity = pod(server(accelerator={"computeCapability": capability}))["affinity"]["nodeAffinity"]
    major, minor = capability.split(".")
    (preferred,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert {each["key"]: each["values"] for each in preferred["preference"]["matchExpressions"]} == {
        "nvidia.com/gpu.compute.major": [major],
        "nvidia.com/gpu.compute.minor": [minor],
    }


@pytest.mark.parametrize(
    ("managed", "surge"),
    [({}, 1), ({"accelerator": {}}, 0), ({"modelCache": {}}, 0)],
)
def test_what_holds_a_device_or_a_volume_goes_before_its_successor_comes(managed: dict[str, Any], surge: int) -> None:
    strategy = server(**managed)["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": surge, "maxUnavailable": 1 - surge}


def test_an_embedder_of_vllm_is_a_pooling_server_with_the_longest_input() -> None:
    (container,) = pod(server(engine="Vllm", accelerator={}))["containers"]
    assert container["image"] == "vllm-openai:test"
    assert {"--runner=pooling", "--max-model-len=256"} <= set(container["args"])


def test_workers_and_queries_are_told_the_protocol_of_the_engine() -> None:
    for engine, expected in (
        ("TextEmbeddings", ("TEI", "http://docs-embedder.team.svc:8080")),
        ("Vllm", ("OpenAI", "http://docs-embedder.team.svc:8080/v1")),
    ):
        kb = worlds.knowledge_base(embedding__server__managed={"engine": engine})
        for source in (
            wiring.worker_settings(kb, generation=1).embedder.source,
            query_wiring.query_settings(worlds.endpoint(), {"docs": kb}).knowledge_bases[0].embedder.source,
        ):
            assert isinstance(source, ModelServerSettings)
            assert (source.protocol, source.url) == expected


def test_prefixes_of_both_sides_reach_both_programs() -> None:
    kb = worlds.knowledge_base(embedding__queryPrefix="query: ", embedding__documentPrefix="passage: ")
    worker = wiring.worker_settings(kb, generation=1).embedder
    asked = query_wiring.query_settings(worlds.endpoint(), {"docs": kb}).knowledge_bases[0].embedder
    assert (worker.query_prefix, worker.document_prefix) == ("query: ", "passage: ")
    assert (asked.query_prefix, asked.document_prefix) == ("query: ", "passage: ")


@pytest.mark.parametrize(("replicas", "guarded"), [(0, False), (1, False), (2, True)])
def test_a_drain_takes_one_of_several_servers_at_a_time(replicas: int, *, guarded: bool) -> None:
    assert ("PodDisruptionBudget" in server(replicas=replicas)) is guarded


def test_metrics_are_found_only_where_somebody_looks_for_them() -> None:
    assert "ServiceMonitor" not in server()
    monitor = server(monitored=True)["ServiceMonitor"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
