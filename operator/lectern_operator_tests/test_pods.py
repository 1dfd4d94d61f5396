"""Every pod that we make: restricted, without a token, with every file that its settings name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lectern_contract import names
from lectern_contract.resources import KnowledgeBase, RagEndpoint, parse_as
from lectern_contract.resources.common import Resources
from lectern_operator.desired import rag_endpoint
from lectern_operator.desired.pod import compute
from lectern_operator_tests import worlds
from lectern_operator_tests.test_golden import CASES

OF_MONITORS = {key for key, _ in worlds.IMAGES.monitor_labels}
ALLOWED_VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "projected"}


def pods(manifests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return the pod specs in `manifests`."""
    for manifest in manifests:
        match manifest["kind"]:
            case "Deployment" | "Job":
                yield manifest["spec"]["template"]["spec"]
            case "CronJob":
                yield manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_restricted(case: str) -> None:
    for pod in pods(CASES[case]()):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        for volume in pod["volumes"]:
            assert volume.keys() - {"name"} <= ALLOWED_VOLUMES
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert all(port["containerPort"] > 1024 for port in container.get("ports", ()))


@pytest.mark.parametrize("case", CASES)
def test_every_mount_has_its_volume_and_every_volume_its_mount(case: str) -> None:
    for pod in pods(CASES[case]()):
        for container in pod["containers"]:
            mounted = [mount["name"] for mount in container["volumeMounts"]]
            assert sorted(mounted) == sorted(volume["name"] for volume in pod["volumes"])
            paths = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("case", CASES)
def test_every_secret_file_of_the_settings_is_mounted_and_no_other(case: str) -> None:
    manifests = CASES[case]()
    named = {path for manifest in manifests if manifest["kind"] == "ConfigMap" for path in secret_paths(manifest)}
    mounted = {path for pod in pods(manifests) for path in secret_mounts(pod)}
    assert mounted == named


def secret_paths(config_map: dict[str, Any]) -> Iterator[str]:
    """Return every path of a secret file in a settings file."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for inner in value.values():
                yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)
        elif isinstance(value, str) and value.startswith(names.SECRETS_DIRECTORY):
            yield value

    return walk(json.loads(config_map["data"]["settings.json"]))


def secret_mounts(pod: dict[str, Any]) -> Iterator[str]:
    """Return the path of every secret file in a pod, and the directory of a Secret that is mounted as a whole."""
    at = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    for volume in pod["volumes"]:
        for source in volume.get("projected", {}).get("sources", ()):
            if "items" not in source["secret"]:
                yield at[volume["name"]]
            for item in source["secret"].get("items", ()):
                yield f"{at[volume['name']]}/{item['path']}"


def test_two_knowledge_bases_of_one_endpoint_keep_their_own_keys() -> None:
    known = {}
    for name in ("a", "b"):
        document = worlds.changed(
            worlds.KNOWLEDGE_BASE, vectorStore__apiKeySecretRef={"name": f"of-{name}", "key": "k"}
        )
        known[name] = parse_as(KnowledgeBase, {**document, "metadata": {"name": name, "namespace": "team"}})
    endpoint = parse_as(RagEndpoint, worlds.changed(worlds.ENDPOINT, knowledgeBaseRefs=["a", "b"]))
    (pod,) = pods(rag_endpoint.manifests(endpoint, known, replicas=1, images=worlds.IMAGES))
    (secrets,) = [volume for volume in pod["volumes"] if "projected" in volume]
    found = {(each["secret"]["name"], each["secret"]["items"][0]["path"]) for each in secrets["projected"]["sources"]}
    assert found == {("of-a", "a.vector-store-api-key"), ("of-b", "b.vector-store-api-key")}


@pytest.mark.parametrize("case", CASES)
def test_every_pod_runs_as_an_account_of_its_own_that_is_made_beside_it(case: str) -> None:
    manifests = CASES[case]()
    accounts = {each["metadata"]["name"]: each for each in manifests if each["kind"] == "ServiceAccount"}
    assert {pod["serviceAccountName"] for pod in pods(manifests)} == set(accounts)
    for account in accounts.values():
        assert account["automountServiceAccountToken"] is False
        assert account["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("case", CASES)
def test_every_container_asks_for_what_it_needs_and_leaves_its_last_words(case: str) -> None:
    for pod in pods(CASES[case]()):
        for container in pod["containers"]:
            given = container["resources"]
            for amount in ("cpu", "memory"):
                assert amount in given.get("requests", {}) or amount in given.get("limits", {})
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


@pytest.mark.parametrize("case", CASES)
def test_the_pods_of_a_deployment_are_spread_and_never_held_back_by_it(case: str) -> None:
    for manifest in CASES[case]():
        if manifest["kind"] != "Deployment":
            continue
        found = manifest["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in found] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        for each in found:
            assert each["whenUnsatisfiable"] == "ScheduleAnyway"
            assert each["labelSelector"] == manifest["spec"]["selector"]


@pytest.mark.parametrize("case", CASES)
def test_every_monitor_finds_a_service_with_the_port_that_it_names(case: str) -> None:
    manifests = CASES[case]()
    services = [each for each in manifests if each["kind"] == "Service"]
    for monitor in (each for each in manifests if each["kind"] == "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (found,) = [each for each in services if wanted <= each["metadata"]["labels"].items()]
        assert {end["port"] for end in monitor["spec"]["endpoints"]} == {
            port["name"] for port in found["spec"]["ports"]
        }


def test_a_resource_that_says_nothing_of_resources_asks_for_some() -> None:
    unsaid, limited = Resources(), Resources(limits={"cpu": "1"})
    assert compute(unsaid) == {"requests": {"cpu": "100m", "memory": "256Mi"}}
    assert compute(limited) == {"requests": {"memory": "256Mi"}, "limits": {"cpu": "1"}}
    assert compute(unsaid, {"nvidia.com/gpu": "1"}, least={"cpu": "1"}) == {
        "requests": {"cpu": "1", "nvidia.com/gpu": "1"},
        "limits": {"nvidia.com/gpu": "1"},
    }


@pytest.mark.parametrize("case", CASES)
def test_children_carry_our_labels_and_nothing_of_the_owner(case: str) -> None:
    for manifest in CASES[case]():
        metadata = manifest["metadata"]
        assert set(metadata["labels"]) - (OF_MONITORS if manifest["kind"] == "ServiceMonitor" else set()) == {
            "app.kubernetes.io/component",
            "app.kubernetes.io/managed-by",
            "app.kubernetes.io/name",
            "lectern.dev/owner-uid",
            "lectern.dev/role",
        }
        (owner,) = metadata["ownerReferences"]
        assert owner["controller"] is True
        assert metadata["labels"]["lectern.dev/owner-uid"] == owner["uid"]
