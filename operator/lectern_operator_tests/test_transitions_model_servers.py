"""Model servers of a RagEndpoint and how they scale: given this world, one pass, that world."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from lectern_operator.clients.errors import Refused
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster, Manifest
from lectern_operator_tests.passes import Operator, children, names

KIND = "RagEndpoint"
MANAGED: dict[str, Any] = {"model": "Qwen/Qwen2.5-7B-Instruct", "server": {"managed": {"accelerator": {}}}}
SCALING: dict[str, Any] = {"maxReplicas": 3, "prometheusUrl": "http://prometheus.monitoring:9090"}
GENERATED = worlds.changed(worlds.ENDPOINT, generation=MANAGED)
SCALED = worlds.changed(GENERATED, generation__scaling=SCALING)
AUTOSCALED = worlds.changed(worlds.ENDPOINT, autoscaling={"minReplicas": 2, "maxReplicas": 6})


def operator(document: dict[str, Any], *, keda: bool = True, cluster: FakeCluster | None = None) -> Operator:
    cluster = cluster or FakeCluster(keda=keda)
    cluster.put(worlds.changed(worlds.KNOWLEDGE_BASE, suspend=True))
    cluster.put(document)
    return Operator(cluster)


def deployment(endpoint: Operator, name: str) -> Manifest:
    return endpoint.cluster.objects["Deployment", "team", name]


# --- the language model -----------------------------------------------------------------------------------------------


async def test_a_language_model_gets_a_server_a_service_and_a_salt() -> None:
    endpoint = operator(GENERATED)
    await endpoint.settle()
    assert [name for name in children(endpoint.cluster) if name.endswith("/ask-generator")] == [
        "Deployment/ask-generator",
        "NetworkPolicy/ask-generator",
        "Secret/ask-generator",
        "Service/ask-generator",
        "ServiceAccount/ask-generator",
        "ServiceMonitor/ask-generator",
    ]
    assert endpoint.judged(KIND, "ask")["GenerationReady"] == ("Unknown", "Progressing")
    endpoint.cluster.roll_out("ask-generator")
    endpoint.cluster.roll_out("ask-query")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["GenerationReady"] == ("True", "DeploymentAvailable")
    assert endpoint.judged(KIND, "ask")["Ready"] == ("True", "AllComponentsReady")
    status = endpoint.status(KIND, "ask")
    assert [each["name"] for each in status["components"]] == ["ask-query", "ask-generator"]
    assert status["endpoints"][1] == {"name": "generator", "url": "http://ask-generator.team.svc:8080"}


async def test_the_salt_is_random_and_stays_while_everything_else_changes() -> None:
    endpoint = operator(GENERATED)
    await endpoint.settle()
    first = endpoint.cluster.objects["Secret", "team", "ask-generator"]["data"]["cache-salt"]
    assert len(base64.b64decode(first)) == 32
    endpoint.cluster.put(worlds.changed(GENERATED, generation__contextWindow=4096))
    await endpoint.settle()
    assert endpoint.cluster.objects["Secret", "team", "ask-generator"]["data"]["cache-salt"] == first
    endpoint.cluster.remove("Secret", "ask-generator")
    await endpoint.settle()
    assert endpoint.cluster.objects["Secret", "team", "ask-generator"]["data"]["cache-salt"] != first


async def test_a_secret_of_that_name_that_is_not_ours_is_left_alone() -> None:
    cluster = FakeCluster()
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ask-generator", "namespace": "team"}}
    cluster.put({**theirs, "data": {"password": "eA=="}})
    endpoint = operator(GENERATED, cluster=cluster)
    await endpoint.settle()
    cluster.roll_out("ask-generator")
    await endpoint.settle()
    assert cluster.objects["Secret", "team", "ask-generator"]["data"] == {"password": "eA=="}
    assert endpoint.condition(KIND, "ask", "GenerationReady")["message"] == (
        "Secret ask-generator exists already and is not ours: delete it, or give the resource another name"
    )


class WithoutSecrets(FakeCluster):
    """A cluster on which the operator may not look at Secrets."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object that is no Secret."""
        if kind == "Secret":
            raise Refused(f'secrets "{name}" is forbidden', status=403)
        return await super().get(kind, namespace, name)


async def test_without_the_right_to_see_the_salt_nothing_is_written_over_and_the_right_is_named() -> None:
    endpoint = operator(GENERATED, cluster=WithoutSecrets())
    await endpoint.settle()
    endpoint.cluster.roll_out("ask-generator")
    await endpoint.settle()
    assert names(endpoint.cluster, "Secret") == []
    assert endpoint.judged(KIND, "ask")["GenerationReady"] == ("Unknown", "AccessDenied")
    assert "rbac.secretNamespaces" in endpoint.condition(KIND, "ask", "GenerationReady")["message"]


async def test_a_language_model_that_is_dropped_goes_and_its_salt_stays() -> None:
    endpoint = operator(GENERATED)
    await endpoint.settle()
    endpoint.cluster.put(worlds.ENDPOINT)
    await endpoint.settle()
    assert [name for name in children(endpoint.cluster) if name.endswith("/ask-generator")] == ["Secret/ask-generator"]
    assert endpoint.judged(KIND, "ask")["GenerationReady"] == ("True", "NotNeeded")


async def test_servers_elsewhere_are_named_and_nothing_is_made_for_them() -> None:
    server = {"external": {"url": "https://models.example.com/v1"}}
    endpoint = operator(
        worlds.changed(
            worlds.ENDPOINT, generation={"model": "m", "server": server}, reranker={"model": "r", "server": server}
        )
    )
    await endpoint.settle()
    judged = endpoint.judged(KIND, "ask")
    assert judged["GenerationReady"] == judged["RerankerReady"] == ("True", "ExternalServer")
    assert names(endpoint.cluster, "Deployment") == ["ask-query", "docs-embedder", "docs-worker"]
    assert endpoint.status(KIND, "ask")["endpoints"][1:] == [
        {"name": "generator", "url": "https://models.example.com/v1"},
        {"name": "reranker", "url": "https://models.example.com/v1"},
    ]


async def test_a_model_server_whose_image_cannot_be_pulled_is_the_reason_of_ready() -> None:
    endpoint = operator(GENERATED)
    await endpoint.settle()
    endpoint.cluster.roll_out("ask-query")
    endpoint.cluster.stick("ask-generator", "ErrImagePull")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["Ready"] == ("False", "ComponentNotReady")
    assert (
        "GenerationReady: Deployment ask-generator: the image" in (endpoint.condition(KIND, "ask", "Ready")["message"])
    )


# --- the reranker -----------------------------------------------------------------------------------------------------


async def test_a_reranker_gets_a_server_and_a_condition() -> None:
    document = worlds.changed(
        worlds.ENDPOINT, reranker={"model": "BAAI/bge-reranker-base", "server": {"managed": {"replicas": 2}}}
    )
    endpoint = operator(document)
    await endpoint.settle()
    endpoint.cluster.roll_out("ask-reranker")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["RerankerReady"] == ("True", "DeploymentAvailable")
    assert names(endpoint.cluster, "PodDisruptionBudget") == ["ask-reranker"]
    (main,) = deployment(endpoint, "ask-reranker")["spec"]["template"]["spec"]["containers"]
    assert main["args"][:2] == ["--model-id", "BAAI/bge-reranker-base"]
    assert {"name": "MAX_CLIENT_BATCH_SIZE", "value": "50"} in main["env"]


# --- KEDA -------------------------------------------------------------------------------------------------------------


async def test_a_scaled_language_model_is_left_to_keda() -> None:
    endpoint = operator(SCALED)
    await endpoint.settle()
    assert names(endpoint.cluster, "ScaledObject") == ["ask-generator"]
    assert endpoint.judged(KIND, "ask")["ScalerReady"] == ("Unknown", "Progressing")
    endpoint.cluster.judge("ask-generator", "True")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["ScalerReady"] == ("True", "ScalerActive")
    endpoint.cluster.edit("Deployment", "ask-generator", {"spec": {"replicas": 3}})
    assert [write for write in await endpoint.settle() if write[0] != "status"] == []


async def test_a_language_model_at_rest_is_well() -> None:
    endpoint = operator(SCALED)
    await endpoint.settle()
    endpoint.cluster.judge("ask-generator", "True")
    endpoint.cluster.edit("Deployment", "ask-generator", {"spec": {"replicas": 0}})
    endpoint.cluster.roll_out("ask-generator")
    endpoint.cluster.roll_out("ask-query")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["GenerationReady"] == ("True", "ScaledToZero")
    assert endpoint.judged(KIND, "ask")["Ready"] == ("True", "AllComponentsReady")


async def test_a_scaler_that_keda_rejects_says_kedas_words() -> None:
    endpoint = operator(SCALED)
    await endpoint.settle()
    endpoint.cluster.judge("ask-generator", "False", "ScaledObject doesn't have correct triggers specification")
    await endpoint.settle()
    condition = endpoint.condition(KIND, "ask", "ScalerReady")
    assert (condition["status"], condition["reason"]) == ("False", "ScalerRejected")
    assert condition["message"].endswith("ScaledObject doesn't have correct triggers specification")


async def test_without_keda_one_server_runs_and_the_next_step_is_named() -> None:
    endpoint = operator(SCALED, keda=False)
    await endpoint.settle()
    assert deployment(endpoint, "ask-generator")["spec"]["replicas"] == 1
    condition = endpoint.condition(KIND, "ask", "ScalerReady")
    assert condition["reason"] == "KedaNotInstalled"
    assert condition["message"] == (
        "the kind ScaledObject does not exist: install KEDA, or remove generation.scaling; meanwhile 1 of up to 3 "
        "model servers run"
    )
    endpoint.cluster.keda = True
    await endpoint.settle()
    assert names(endpoint.cluster, "ScaledObject") == ["ask-generator"]


async def test_a_scaler_that_is_not_wanted_goes_before_the_number_is_set() -> None:
    endpoint = operator(SCALED)
    await endpoint.settle()
    endpoint.cluster.edit("Deployment", "ask-generator", {"spec": {"replicas": 3}})
    endpoint.cluster.put(worlds.changed(GENERATED, generation__server__managed__replicas=2))
    writes = await endpoint.settle()
    assert writes.index(("delete", "ScaledObject", "ask-generator")) < writes.index(
        ("apply", "Deployment", "ask-generator")
    )
    assert deployment(endpoint, "ask-generator")["spec"]["replicas"] == 2


async def test_bounds_that_are_equal_need_no_keda() -> None:
    scaling = {**SCALING, "minReplicas": 3}
    endpoint = operator(worlds.changed(GENERATED, generation__scaling=scaling), keda=False)
    await endpoint.settle()
    assert deployment(endpoint, "ask-generator")["spec"]["replicas"] == 3
    assert endpoint.judged(KIND, "ask")["ScalerReady"] == ("True", "NotNeeded")


# --- Kubernetes' own autoscaler ---------------------------------------------------------------------------------------


def judge_autoscaler(cluster: FakeCluster, status: str, reason: str) -> None:
    """Let the controller of the autoscaler say whether it gets its figures."""
    conditions = [
        {"type": "AbleToScale", "status": "True", "reason": "SucceededGetScale"},
        {"type": "ScalingActive", "status": status, "reason": reason, "message": "of pod ask-query-5f7 and figure 17"},
    ]
    cluster.edit("HorizontalPodAutoscaler", "ask-query", {"status": {"conditions": conditions}})


async def test_an_autoscaled_endpoint_leaves_its_replicas_to_the_autoscaler() -> None:
    endpoint = operator(AUTOSCALED)
    await endpoint.settle()
    assert names(endpoint.cluster, "HorizontalPodAutoscaler") == ["ask-query"]
    assert names(endpoint.cluster, "PodDisruptionBudget") == ["ask-query"]
    endpoint.cluster.edit("Deployment", "ask-query", {"spec": {"replicas": 5}})
    judge_autoscaler(endpoint.cluster, "True", "ValidMetricFound")
    assert [write for write in await endpoint.settle() if write[0] != "status"] == []
    endpoint.cluster.roll_out("ask-query")
    await endpoint.settle()
    assert endpoint.judged(KIND, "ask")["ScalerReady"] == ("True", "ScalerActive")
    assert endpoint.judged(KIND, "ask")["Ready"] == ("True", "AllComponentsReady")


async def test_an_autoscaler_without_figures_names_what_is_missing_and_nothing_that_moves() -> None:
    endpoint = operator(AUTOSCALED)
    await endpoint.settle()
    judge_autoscaler(endpoint.cluster, "False", "FailedGetResourceMetric")
    await endpoint.settle()
    condition = endpoint.condition(KIND, "ask", "ScalerReady")
    assert (condition["status"], condition["reason"]) == ("False", "ScalerRejected")
    assert "metrics-server" in condition["message"]
    assert "ask-query-5f7" not in condition["message"]


async def test_an_endpoint_that_is_scaled_no_longer_keeps_the_number_that_is_asked_for() -> None:
    endpoint = operator(AUTOSCALED)
    await endpoint.settle()
    endpoint.cluster.edit("Deployment", "ask-query", {"spec": {"replicas": 6}})
    endpoint.cluster.put(worlds.changed(worlds.ENDPOINT, replicas=4))
    writes = await endpoint.settle()
    assert writes.index(("delete", "HorizontalPodAutoscaler", "ask-query")) < writes.index(
        ("apply", "Deployment", "ask-query")
    )
    assert deployment(endpoint, "ask-query")["spec"]["replicas"] == 4


@pytest.mark.parametrize(
    ("fixed", "scaled", "name"),
    [
        (worlds.changed(worlds.ENDPOINT, replicas=3), AUTOSCALED, "ask-query"),
        (worlds.changed(GENERATED, generation__server__managed__replicas=3), SCALED, "ask-generator"),
    ],
)
async def test_an_autoscaler_takes_over_the_replicas_that_run(
    fixed: dict[str, Any], scaled: dict[str, Any], name: str
) -> None:
    endpoint = operator(fixed)
    await endpoint.settle()
    endpoint.cluster.put(scaled)
    await endpoint.settle()
    assert deployment(endpoint, name)["spec"]["replicas"] == 3
