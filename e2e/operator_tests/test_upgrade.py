"""A newer operator over what an older one has left: it writes what has changed, and reads what was stored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.operator_tests import account, older_definitions, older_operator
from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import ROOT, conditions, eventually, quiet, running_operator
from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.control_plane import control_plane as start_control_plane
from e2e.testbed.fake_node import FakeNode, Pod, PodOutcome
from lectern_contract import labels
from lectern_operator_tests import worlds

pytestmark = pytest.mark.usefixtures("claims", "fake_node")
SECONDS = 30.0
SETTLE_SECONDS = 60.0
"""Two Deployments roll out, and what pods have loaded is asked again at intervals."""
FIXED = worlds.changed(worlds.KNOWLEDGE_BASE, workers__minReplicas=1, workers__maxReplicas=1)
TRIO = (FIXED, worlds.SOURCE, worlds.ENDPOINT)
OLDER_IMAGE = "lectern-query:0.0.9"
CHANGED = {
    "deployments/ask-query": 1,
    "deployments/docs-worker": 1,
    "networkpolicies/docs-embedder": 1,
    "services/ask-query": 1,
}
"""What the newer operator has to write, and how often."""
OLDER_STATUS: dict[str, Any] = {
    "phase": "Ready",
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "Running", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ],
}
OLDER_GENERATION = 3
NEWER = 2
"""Schema version of settings that no image of today reads."""


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    """Start a control plane whose definitions these tests may change."""
    with start_control_plane() as plane:
        plane.install_crds(ROOT / "crds")
        yield plane
        assert account.refused(plane) == set(), "the operator has asked for what the table of rights does not grant"


def is_ready(objects: Objects, document: dict[str, Any]) -> bool:
    found = objects.get(document["kind"], document["metadata"]["name"])
    seen = found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
    return seen and conditions(found).get("Ready", ("", ""))[0] == "True"


def become_ready(objects: Objects) -> None:
    eventually(
        lambda: all(is_ready(objects, each) for each in TRIO),
        SECONDS,
        lambda: [conditions(objects.get(each["kind"], each["metadata"]["name"])) for each in TRIO],
    )


def told(objects: Objects) -> dict[str, Any]:
    """Return the conditions of the three resources by kind."""
    return {each["kind"]: conditions(objects.get(each["kind"], each["metadata"]["name"])) for each in TRIO}


class Audit:
    """What the operator has written into a namespace, as the API server has logged it."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._log = plane.logs / "audit.log"
        self._namespace = namespace
        self._read = self._log.stat().st_size

    def written(self) -> Counter[str]:
        """Return the writes since this object was made by resource and name, Kubernetes Events left out."""
        found: Counter[str] = Counter()
        with self._log.open("rb") as log:
            log.seek(self._read)
            for line in log.read().splitlines():
                event = json.loads(line)
                where = event.get("objectRef", {})
                if where.get("namespace") != self._namespace or where["resource"] == "events":
                    continue
                if event["verb"] not in ("get", "list", "watch"):
                    path = (where["resource"], where.get("subresource"), where.get("name"))
                    found["/".join(part for part in path if part)] += 1
        return found


def test_a_newer_operator_writes_what_has_changed_once_and_nothing_else(
    objects: Objects, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setenv("LECTERN_IMAGE_QUERY", OLDER_IMAGE)
        module = older_operator.__name__
        with running_operator(objects.plane, work, namespace=objects.namespace, module=module) as operator:
            for document in TRIO:
                objects.create(document)
            become_ready(objects)
            quiet(operator)
        with running_operator(objects.plane, work, namespace=objects.namespace, module=module) as operator:
            quiet(operator)
            assert operator.writes() == 0, "the older operator does not agree with itself"
    settled = told(objects)
    service = objects.get("Service", "ask-query")
    assert service["metadata"]["annotations"][older_operator.ANNOTATION] == older_operator.VERSION

    audit = Audit(objects.plane, objects.namespace)
    with running_operator(objects.plane, work, namespace=objects.namespace) as operator:
        eventually(lambda: operator.passes() >= len(TRIO), SECONDS)
        eventually(lambda: len(audit.written()) >= len(CHANGED), SECONDS, audit.written)
        become_ready(objects)
        eventually(lambda: told(objects) == settled, SETTLE_SECONDS, lambda: (told(objects), settled))
        quiet(operator)
    written = audit.written()
    statuses = {name: written.pop(name) for name in list(written) if "/status/" in name}
    assert written == CHANGED
    # two roll out, and their owners say so; the third resource has nothing to tell
    assert set(statuses) <= {"knowledgebases/status/docs", "ragendpoints/status/ask"}
    assert max(statuses.values(), default=0) <= 4
    query, workers = objects.get("Deployment", "ask-query"), objects.get("Deployment", "docs-worker")
    assert query["spec"]["template"]["spec"]["containers"][0]["image"] != OLDER_IMAGE
    assert workers["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] != older_operator.GRACE_SECONDS
    assert older_operator.ANNOTATION not in objects.get("Service", "ask-query")["metadata"]["annotations"]

    again, before = Audit(objects.plane, objects.namespace), [objects.get("KnowledgeBase", "docs")["status"]]
    with running_operator(objects.plane, work, namespace=objects.namespace) as operator:
        eventually(lambda: operator.passes() >= len(TRIO), SECONDS)
        quiet(operator)
    assert (again.written(), [objects.get("KnowledgeBase", "docs")["status"]]) == ({}, before)


@contextmanager
def older_release(plane: ControlPlane, directory: Path) -> Iterator[None]:
    """Install the definitions of an older release; at the end of the block, today's."""
    used = {name for document in TRIO for name in document["spec"]}
    file = directory / "older.yaml"
    file.write_text(yaml.safe_dump_all(older_definitions.older(each, used) for each in older_definitions.todays()))
    try:
        plane.install_crds(file)
        yield
    finally:
        plane.install_crds(ROOT / "crds")


def test_objects_of_an_older_release_are_served_unchanged_and_looked_after(
    objects: Objects, work: Path, tmp_path: Path
) -> None:
    with older_release(objects.plane, tmp_path):
        stored = [objects.create(document) for document in TRIO]
    for definition, each in zip(
        older_definitions.todays(), sorted(stored, key=lambda one: str(one["kind"])), strict=True
    ):
        lacking = older_definitions.newer_fields(definition, set())
        assert len([name for name in lacking if name not in each["spec"]]) > 3, "the older release lacks too little"

    for each in stored:
        found = objects.get(each["kind"], each["metadata"]["name"])
        assert found["metadata"] | {"managedFields": 0} == each["metadata"] | {"managedFields": 0}
        assert {name: found["spec"][name] for name in each["spec"]} == each["spec"]
    with running_operator(objects.plane, work, namespace=objects.namespace) as operator:
        become_ready(objects)
        quiet(operator)
    for each in stored:
        found = objects.get(each["kind"], each["metadata"]["name"])
        assert found["metadata"]["generation"] == each["metadata"]["generation"], "the spec was written"


def test_a_status_of_an_older_release_is_read_without_losing_what_it_remembers(
    objects: Objects, work: Path, tmp_path: Path
) -> None:
    remembered: dict[str, dict[str, Any]] = {
        "KnowledgeBase": {"activeGeneration": OLDER_GENERATION},
        "IngestionSource": {"lastHandledSyncRequest": "in the old days"},
        "RagEndpoint": {},
    }
    with older_release(objects.plane, tmp_path):
        for document in TRIO:
            kind, name = document["kind"], document["metadata"]["name"]
            body = objects.create(document)
            status = OLDER_STATUS | remembered[kind]
            objects.plane.request("PUT", f"{objects.path(kind, name)}/status", {**body, "status": status})
    with running_operator(objects.plane, work, namespace=objects.namespace) as operator:
        become_ready(objects)
        quiet(operator)
    for document in TRIO:
        kind, name = document["kind"], document["metadata"]["name"]
        status = objects.get(kind, name)["status"]
        assert "phase" not in status
        assert {field: status[field] for field in remembered[kind]} == remembered[kind]
        assert all(each["observedGeneration"] == 1 for each in status["conditions"])
    settings = [each for each in objects.list("ConfigMap") if each["metadata"]["name"].startswith("docs-worker-")]
    assert [json.loads(each["data"]["settings.json"])["generation"] for each in settings] == [OLDER_GENERATION]


def test_an_image_that_cannot_read_its_settings_is_told_once_in_the_words_of_its_program(
    objects: Objects, fake_node: FakeNode, work: Path
) -> None:
    """The worker's real program gets what its pod mounts, with the schema version of a newer release."""

    def refuses(pod: Pod) -> PodOutcome | None:
        return _run_worker(objects, pod, work) if _is_worker(pod) else None

    def applied() -> dict[str, Any]:
        found = objects.get("KnowledgeBase", "docs").get("status", {}).get("conditions", ())
        return next((each for each in found if each["type"] == "ConfigApplied"), {})

    def restarts() -> int:
        (pod,) = objects.list("Pod", f"{labels.ROLE}=worker")
        return max((each["restartCount"] for each in pod.get("status", {}).get("containerStatuses", ())), default=0)

    fake_node.outcome = refuses
    words = (
        f"the worker refuses its settings: settings.json: schema_version: {NEWER} was written and this image reads 1; "
        "the operator and this image must be of one release (this image is older)"
    )
    with running_operator(objects.plane, work, namespace=objects.namespace):
        objects.create(FIXED)
        eventually(lambda: applied().get("reason") == "SettingsRefused", SECONDS, applied)
        assert (applied()["status"], applied()["message"]) == ("False", words)
        told, seen = applied(), restarts()
        eventually(lambda: restarts() >= seen + 2, SECONDS)
        assert applied() == told, "each restart is told as news"
        fake_node.outcome = lambda _: None
        eventually(lambda: is_ready(objects, FIXED), SECONDS, applied)
        assert applied()["reason"] == "SettingsLoaded"


def _is_worker(pod: Pod) -> bool:
    return bool(pod["metadata"].get("labels", {}).get(labels.ROLE) == "worker")


def _run_worker(objects: Objects, pod: Pod, directory: Path) -> PodOutcome:
    (name,) = (each["configMap"]["name"] for each in pod["spec"]["volumes"] if "configMap" in each)
    file = directory / "settings.json"
    mounted = json.loads(objects.get("ConfigMap", name)["data"]["settings.json"])
    file.write_text(json.dumps({**mounted, "schema_version": NEWER}))
    command = [sys.executable, "-m", "lectern_runtime.embed", "--settings", str(file), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runtimes")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    return PodOutcome(exit_code=done.returncode, message=done.stderr)
