"""vLLM as Kubernetes starts it: its own user, room to write, time to load, time to end, and no queue without end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lectern_contract.names import Role
from lectern_contract.resources.common import ManagedServer
from lectern_operator.desired.metadata import Manifest, Owner
from lectern_operator.desired.vllm import LEFT_SECONDS, vllm
from lectern_operator_tests import worlds

OF = Owner("RagEndpoint", "ask", "team", "uid-rag")


def made(document: dict[str, Any] | None = None, **options: Any) -> dict[str, Manifest]:
    """Return the manifests by kind."""
    server = ManagedServer.model_validate_json(json.dumps(document or {}))
    given: dict[str, Any] = {"runner": "generate", **options}
    manifests = vllm(OF, Role.GENERATOR, "org/model", "abc", server, worlds.IMAGES, **given)
    return {manifest["kind"]: manifest for manifest in manifests}


def pod(found: dict[str, Manifest]) -> Manifest:
    spec: Manifest = found["Deployment"]["spec"]["template"]["spec"]
    return spec


def arguments(found: dict[str, Manifest]) -> list[str]:
    (main,) = pod(found)["containers"]
    return list(main["args"])


def test_the_model_is_served_under_its_name_in_its_revision_and_window() -> None:
    assert arguments(made({"accelerator": {"count": 2}, "args": ["--max-num-seqs=64"]}, max_model_len=4096)) == [
        "org/model",
        "--served-model-name=org/model",
        "--revision=abc",
        "--tokenizer-revision=abc",
        "--runner=generate",
        "--port=8080",
        "--max-num-queued-reqs=512",
        "--max-model-len=4096",
        "--tensor-parallel-size=2",
        "--shutdown-timeout=30",
        "--max-num-seqs=64",
    ]


def test_pooling_is_another_runner_of_the_same_server() -> None:
    assert "--runner=pooling" in arguments(made(runner="pooling"))


def test_requests_in_flight_have_time_to_end_before_the_kill() -> None:
    found = made(drain_seconds=120)
    assert "--shutdown-timeout=120" in arguments(found)
    assert pod(found)["terminationGracePeriodSeconds"] == 120 + LEFT_SECONDS
    assert "lifecycle" not in pod(found)["containers"][0]


def test_it_runs_as_the_images_own_user_and_writes_only_to_volumes() -> None:
    found = pod(made())
    context = found["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (2000, 0, 0)
    (main,) = found["containers"]
    assert main["securityContext"]["readOnlyRootFilesystem"] is True
    mounted = {mount["mountPath"] for mount in main["volumeMounts"]}
    assert mounted == {"/data", "/dev/shm", "/tmp"}
    environment = {each["name"]: each["value"] for each in main["env"]}
    for name in ("HF_HOME", "HF_HUB_CACHE", "HOME", "VLLM_CACHE_ROOT"):
        assert environment[name].startswith("/data")
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert found["enableServiceLinks"] is False


def test_shared_memory_is_memory_and_grows_with_the_devices() -> None:
    for count, size in ((1, "2Gi"), (4, "8Gi")):
        volumes = {volume["name"]: volume for volume in pod(made({"accelerator": {"count": count}}))["volumes"]}
        assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": size}


def test_devices_are_asked_for_in_requests_and_limits() -> None:
    (main,) = pod(made({"accelerator": {"count": 2, "resourceName": "amd.com/gpu"}}))["containers"]
    assert main["resources"]["limits"] == {"amd.com/gpu": "2"}
    assert main["resources"]["requests"] == {"amd.com/gpu": "2", "cpu": "2", "memory": "16Gi"}


@pytest.mark.parametrize(
    ("document", "surge"),
    [({}, 1), ({"accelerator": {}}, 0), ({"modelCache": {"size": "20Gi"}}, 0)],
)
def test_what_holds_a_device_or_a_volume_is_not_doubled_in_a_rollout(document: dict[str, Any], surge: int) -> None:
    rolling = made(document)["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": surge, "maxUnavailable": 1 - surge}


def test_a_long_load_is_no_failure() -> None:
    found = made({"startupSeconds": 2400})
    (main,) = pod(found)["containers"]
    probe = main["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 2400
    assert found["Deployment"]["spec"]["progressDeadlineSeconds"] > 2400


def test_a_claim_is_made_where_none_is_named() -> None:
    found = made({"modelCache": {"size": "40Gi", "storageClassName": "fast"}})
    assert found["PersistentVolumeClaim"]["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "40Gi"}},
        "storageClassName": "fast",
    }
    assert "PersistentVolumeClaim" not in made({"modelCache": {"claimName": "weights"}})


def test_an_autoscaler_is_left_the_number_and_a_fixed_one_is_said() -> None:
    assert "replicas" not in made({"replicas": 4}, autoscaled=True)["Deployment"]["spec"]
    assert made({"replicas": 4})["Deployment"]["spec"]["replicas"] == 4
    assert made({"replicas": 4}, replicas=2)["Deployment"]["spec"]["replicas"] == 2


def test_the_image_is_the_one_for_the_device() -> None:
    documents: list[dict[str, Any]] = [{}, {"accelerator": {}}, {"accelerator": {}, "image": "mine:1"}]
    images = [pod(made(document))["containers"][0]["image"] for document in documents]
    assert images == [worlds.IMAGES.vllm_cpu, worlds.IMAGES.vllm, "mine:1"]
