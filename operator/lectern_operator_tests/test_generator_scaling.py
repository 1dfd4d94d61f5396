"""The queries that scale a language model: of series that exist, by labels that they really carry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lectern_contract.errors import ResourceInvalid
from lectern_contract.names import Role
from lectern_contract.resources import RagEndpoint, parse_as
from lectern_operator.desired import generator_scaling
from lectern_operator.desired.deployment import service
from lectern_operator.desired.metadata import Manifest, owner
from lectern_operator.desired.service_monitor import service_monitor
from lectern_operator_tests import worlds

METRICS = Path(__file__).parent / "testdata" / "vllm_metrics.txt"
SERIES = re.compile(r"([a-z_]+(?::[a-z_]+)?)\{([^}]*)\}")
LABEL = re.compile(r'([a-z_]+)="([^"]*)"')
SET_BY_PROMETHEUS_OPERATOR = {"namespace", "service", "pod", "container", "endpoint", "instance", "job"}
"""Labels of a target that a ServiceMonitor finds; `service` is the name of its Service."""
SCALING: dict[str, Any] = {"maxReplicas": 3, "prometheusUrl": "http://prometheus.monitoring:9090"}


def endpoint(**scaling: Any) -> RagEndpoint:
    generation = {"model": "m", "server": {"managed": {}}, "scaling": {**SCALING, **scaling}}
    return worlds.endpoint(generation=generation)


def scaled_object(**scaling: Any) -> Manifest:
    resource = endpoint(**scaling)
    assert resource.spec.generation is not None
    assert resource.spec.generation.scaling is not None
    return generator_scaling.generator_scaling(owner(resource), resource.spec.generation.scaling)


def series(query: str) -> list[tuple[str, dict[str, str]]]:
    """Return name and matchers of every selector in `query`."""
    return [(name, dict(LABEL.findall(matchers))) for name, matchers in SERIES.findall(query)]


def recorded() -> dict[str, set[str]]:
    """Return the labels of each series that vLLM exposes, by name."""
    lines = [line for line in METRICS.read_text().splitlines() if not line.startswith("#")]
    return {name: {label for label, _ in LABEL.findall(labels)} for name, labels in SERIES.findall("\n".join(lines))}


def test_every_series_is_one_of_the_model_server_or_the_signal_of_the_query_service() -> None:
    queries = [trigger["metadata"]["query"] for trigger in scaled_object()["spec"]["triggers"]]
    named = {name for query in queries for name, _ in series(query)}
    assert named == {"rag_llm_pending", "vllm:num_requests_running", "vllm:num_requests_waiting"}
    assert named - {generator_scaling.PENDING} <= recorded().keys()


def test_labels_are_those_that_scraping_adds_and_none_of_the_servers_own() -> None:
    found = [
        (name, matchers)
        for trigger in scaled_object()["spec"]["triggers"]
        for name, matchers in series(trigger["metadata"]["query"])
    ]
    for name, matchers in found:
        assert matchers.keys() <= SET_BY_PROMETHEUS_OPERATOR
        assert not matchers.keys() & recorded().get(name, set()), "a label of the server's own would be renamed"


@pytest.mark.parametrize(
    ("query", "role"), [(generator_scaling.queue, Role.GENERATOR), (generator_scaling.activity, Role.QUERY)]
)
def test_series_are_those_of_the_service_that_the_monitor_selects(query: Any, role: Role) -> None:
    of = owner(endpoint())
    behind = service(of, role, 8080)
    (first, *_) = series(query(of))
    assert first[1] == {"namespace": of.namespace, "service": behind["metadata"]["name"]}
    monitor = service_monitor(of, role)
    assert monitor["spec"]["selector"]["matchLabels"].items() <= behind["metadata"]["labels"].items()
    assert [each["name"] for each in behind["spec"]["ports"]] == [each["port"] for each in monitor["spec"]["endpoints"]]


def test_only_the_queue_asks_for_more_than_one_replica_and_only_activity_outlasts_it() -> None:
    activity, queue = scaled_object(waitingRequests=6)["spec"]["triggers"]
    assert activity["metadata"]["query"].startswith("clamp_max(")
    assert activity["metadata"]["query"].endswith(", 1)")
    assert (activity["metadata"]["threshold"], queue["metadata"]["threshold"]) == ("1", "6")
    assert activity["metadata"]["activationThreshold"] == queue["metadata"]["activationThreshold"] == "0"


def test_an_answer_that_is_missing_is_an_error_and_takes_no_replica_away() -> None:
    spec = scaled_object()["spec"]
    assert {trigger["metadata"]["ignoreNullValues"] for trigger in spec["triggers"]} == {"false"}
    assert spec["fallback"] == {"failureThreshold": 4, "replicas": 1, "behavior": "currentReplicasIfHigher"}


def test_pods_that_took_minutes_to_load_do_not_go_at_once() -> None:
    spec = scaled_object(cooldownSeconds=900)["spec"]
    assert spec["cooldownPeriod"] == 900
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 300


def test_a_rest_that_is_shorter_than_the_load_is_refused() -> None:
    generation = {
        "model": "m",
        "server": {"managed": {"startupSeconds": 1200}},
        "scaling": {**SCALING, "cooldownSeconds": 600},
    }
    with pytest.raises(ResourceInvalid, match=r"spec\.generation\.scaling\.cooldownSeconds: cooldownSeconds must not"):
        parse_as(RagEndpoint, worlds.changed(worlds.ENDPOINT, generation=generation))


def test_a_server_elsewhere_is_not_scaled() -> None:
    generation = {"model": "m", "server": {"external": {"url": "http://m"}}, "scaling": SCALING}
    with pytest.raises(ResourceInvalid, match=r"scaling belongs to a managed server"):
        parse_as(RagEndpoint, worlds.changed(worlds.ENDPOINT, generation=generation))
