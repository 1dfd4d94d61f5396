"""Running pods of the fake node answer as our runtimes and TEI do."""

import hashlib
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.fake_node import FakeNode
from e2e.testbed_tests.eventually import eventually
from e2e.testbed_tests.objects import Manifest, collection, config_map, create, pod

SETTINGS = json.dumps({"schema_version": 1, "runtime": "worker"})


def of_role(name: str, role: str, **spec: Any) -> Manifest:
    manifest = pod(name, **spec)
    manifest["metadata"]["labels"] = {"lectern.dev/role": role}
    return manifest


def ask(address: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://{address}:8080{path}", data=data, timeout=5) as answer:
        return json.loads(answer.read())


def address(plane: ControlPlane, namespace: str, name: str) -> str:
    found = eventually(
        lambda: plane.request("GET", f"{collection(namespace, 'Pod')}/{name}"),
        lambda each: each.get("status", {}).get("phase") == "Running",
    )
    return str(found["status"]["podIP"])


def test_a_runtime_tells_the_hash_of_the_settings_it_mounted(
    control_plane: ControlPlane, namespace: str, fake_node: FakeNode
) -> None:
    create(control_plane, namespace, config_map("worker-settings", {"settings.json": SETTINGS}))
    volume = {"name": "settings", "configMap": {"name": "worker-settings"}}
    create(control_plane, namespace, of_role("worker", "worker", volumes=[volume]))
    told = ask(address(control_plane, namespace, "worker"), "/configz")
    digest = hashlib.sha256(SETTINGS.encode()).hexdigest()
    assert told == {"runtime": "worker", "config_hash": digest, "settings_version": "1"}


def test_an_embedder_answers_with_the_length_of_its_model(
    control_plane: ControlPlane, namespace: str, fake_node: FakeNode
) -> None:
    args = ["--model-id", "intfloat/e5-base-v2"]
    create(control_plane, namespace, of_role("embedder", "embedder", container={"args": args}))
    where = address(control_plane, namespace, "embedder")
    assert ask(where, "/info") == {"max_input_length": 512, "max_client_batch_size": 32}
    assert [len(vector) for vector in ask(where, "/embed", {"inputs": ["a", "b"]})] == [768, 768]


def test_a_pod_that_is_gone_answers_no_more(control_plane: ControlPlane, namespace: str, fake_node: FakeNode) -> None:
    create(control_plane, namespace, of_role("query", "query"))
    where = address(control_plane, namespace, "query")
    assert ask(where, "/readyz") == {}
    control_plane.request("DELETE", f"{collection(namespace, 'Pod')}/query")

    def silent() -> bool:
        try:
            ask(where, "/readyz")
        except urllib.error.URLError:
            return True
        return False

    assert eventually(silent, bool)


def test_a_model_that_is_not_known_is_no_success(
    control_plane: ControlPlane, namespace: str, fake_node: FakeNode
) -> None:
    create(control_plane, namespace, of_role("embedder", "embedder", container={"args": ["--model-id=no/model"]}))
    with pytest.raises(urllib.error.HTTPError, match="503"):
        ask(address(control_plane, namespace, "embedder"), "/info")
