"""Argo CD's health check and the kstatus conventions hold in every state that the operator puts a resource into.

The states are recorded from the transition tests of today's operator (tools/record_states.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.chart_tests import kstatus
from e2e.chart_tests.argo_health import Health, health
from e2e.chart_tests.kstatus import Status
from e2e.chart_tests.rendering import ROOT
from lectern_contract import resources
from lectern_contract.resources.reasons import CONDITIONS

GITOPS = ROOT / "config" / "samples" / "gitops"
CHECKS: dict[str, str] = {
    name.rpartition("_")[2]: program
    for name, program in yaml.safe_load((GITOPS / "argocd-cm.yaml").read_text())["data"].items()
}
STALLED = {"type": "Stalled", "status": "True", "reason": "InvalidSpec", "message": "a field"}
READY = {"type": "Ready", "status": "True", "reason": "AllComponentsReady", "message": "everything is ready"}
State = dict[str, Any]


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> list[State]:
    """Record the states of all transition tests, in a process of its own."""
    file = tmp_path_factory.mktemp("states") / "states.json"
    command = [sys.executable, "-m", "tools.record_states", str(file)]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}:{ROOT / 'runtimes'}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout.splitlines()[-1])
    recorded: list[State] = json.loads(Path(file).read_text())
    return [state for state in recorded if _served(state["object"])]


def _served(body: State) -> bool:
    """Say whether the API server would have such a status: some tests begin with one that it refuses."""
    model = resources.KINDS[body["kind"]].model_fields["status"].annotation
    assert model is not None
    try:
        model.model_validate(body.get("status") or {})
    except ValueError:
        return False
    return True


def resource(kind: str = "KnowledgeBase", *conditions: State, observed: int = 2, **spec: Any) -> State:
    """Return a resource of generation 2 with these conditions."""
    metadata = {"name": "docs", "generation": 2}
    status = {"observedGeneration": observed, "conditions": list(conditions)}
    return {"kind": kind, "metadata": metadata, "spec": spec, "status": status}


def test_there_is_a_check_for_each_kind() -> None:
    assert sorted(CHECKS) == sorted(resources.KINDS)


@pytest.mark.parametrize("kind", sorted(resources.KINDS))
def test_health_of_what_a_user_may_meet(kind: str) -> None:
    check = CHECKS[kind]
    new = {"kind": kind, "metadata": {"name": "docs", "generation": 1}, "spec": {}}
    deleted = resource(kind, READY)
    deleted["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    stuck = resource(kind, STALLED)
    stuck["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    unready = {**READY, "status": "False", "message": "1 of 2 replicas"}
    unseen = "the operator has not acted on this generation yet"
    assert [
        health(check, new),
        health(check, {**new, "status": {}}),
        health(check, resource(kind)),
        health(check, resource(kind, READY)),
        health(check, resource(kind, unready)),
        health(check, resource(kind, READY, observed=1)),
        health(check, resource(kind, STALLED, observed=1)),
        health(check, resource(kind, unready, STALLED)),
        health(check, resource(kind, READY, suspend=True)),
        health(check, resource(kind, READY, suspend=False)),
        health(check, deleted),
        health(check, stuck),
    ] == [
        Health("Progressing", unseen),
        Health("Progressing", unseen),
        Health("Progressing", "the operator has not looked at it yet"),
        Health("Healthy", "everything is ready"),
        Health("Progressing", "1 of 2 replicas"),
        Health("Progressing", unseen),
        Health("Progressing", unseen),
        Health("Degraded", "a field"),
        Health("Suspended", "spec.suspend is true"),
        Health("Healthy", "everything is ready"),
        Health("Progressing", "is being deleted"),
        Health("Degraded", "a field"),
    ]


def test_argo_and_kstatus_agree_in_every_recorded_state(states: list[State]) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for state in states:
        body = state["object"]
        answer = health(CHECKS[body["kind"]], body)
        seen[body["kind"], answer.status] += 1
        if "observedGeneration" not in body.get("status", {}):  # new, or a status of somebody else
            assert answer.status == "Progressing", state
            continue
        assert answer.status in _wanted(body), state
    for kind in resources.KINDS:
        assert {"Healthy", "Progressing"} <= {status for of, status in seen if of == kind}
    met = {("KnowledgeBase", "Degraded"), ("KnowledgeBase", "Suspended"), ("IngestionSource", "Suspended")}
    assert met <= set(seen), "the tests do not lead there any more"


def _wanted(body: State) -> set[str]:
    """Return what Argo CD may show where kstatus computes what it does for `body`."""
    suspended = body["status"]["observedGeneration"] == body["metadata"]["generation"] and body["spec"].get("suspend")
    match kstatus.compute(body):
        case Status.CURRENT:
            return {"Suspended" if suspended else "Healthy"}
        case Status.IN_PROGRESS:
            return {"Suspended" if suspended else "Progressing"}
        case Status.FAILED:
            return {"Degraded"}
        case Status.TERMINATING:
            return {"Progressing", "Degraded"}


def test_conventions_of_conditions_hold_in_every_recorded_state(states: list[State]) -> None:
    looked_at = 0
    for state in states:
        body = state["object"]
        status = body.get("status") or {}
        if not status.get("conditions") or "somebody_else" in state["scenario"]:
            continue  # nothing was looked at yet, or the status is one that the test made up
        looked_at += 1
        generation = body["metadata"]["generation"]
        found = {each["type"]: each for each in status["conditions"]}
        assert tuple(found) == CONDITIONS[body["kind"]], state
        assert status["observedGeneration"] <= generation, state
        assert {each["observedGeneration"] for each in found.values()} == {status["observedGeneration"]}, state
        ready, reconciling, stalled = (found[name]["status"] for name in ("Ready", "Reconciling", "Stalled"))
        assert (reconciling, stalled) != ("True", "True"), state
        assert reconciling in ("True", "False"), state
        assert stalled in ("True", "False"), state
        if ready == "True":
            assert (reconciling, stalled) == ("False", "False"), state
        else:
            assert "True" in (reconciling, stalled), f"not ready, and neither at work nor stalled: {state}"
    print(f"{len(states)} states, {looked_at} of them with conditions")
    assert looked_at > 100
