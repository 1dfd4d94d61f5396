"""The checks, in the order of a resource's life: installed, running, applied, used, changed, killed, deleted, gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

from e2e.node_smoke import machine_end
from e2e.node_smoke.cluster import Body, Unmet, fetch, until
from e2e.node_smoke.sheet import Sheet
from e2e.node_smoke.stage import RUNTIMES, SYSTEM, TEAM, Stage
from lectern_contract import names

CHART = machine_end.ROOT / "charts" / "lectern"
VALUES = {
    "images.registry": "localhost",
    "images.pullPolicy": "Never",
    "rbac.secretNamespaces": f"{{{TEAM}}}",
    "operator.resyncSeconds": "60",
}
PATIENCE, HOPELESS = 60.0, 5.0
"""How long a condition is waited for: while pods live, and while they end again and again."""
MENDED = (("service", "handbook-query"), ("deployment", "handbook-worker"))
SOURCES = (
    ("handbook-files", "the volume", "How many days of holiday does a new colleague have?", "twenty-eight", 3),
    ("handbook-git", "the git remote", "Who repairs the coffee machine?", "facility services", 2),
)
"""Each source with a question, a part of its answer, and how many documents it holds."""


def installed(stage: Stage, sheet: Sheet) -> bool:
    """The chart installs, the operator is Ready, `helm test` succeeds."""

    def install() -> None:
        values = [word for name, value in VALUES.items() for word in ("--set", f"{name}={value}")]
        arguments = ["--namespace", SYSTEM, "--wait", "--timeout=90s", *values]
        stage.helm.run("install", "lectern", str(CHART), *arguments)

    def tested() -> None:
        said = stage.helm.run("test", "lectern", "--namespace", SYSTEM, "--timeout=60s")
        if "Succeeded" not in said:
            raise Unmet(said)

    held = sheet.timed("N1", "helm install --wait: the operator is Ready under `restricted`", 60, install)
    sheet.timed("N2", "helm test succeeds in a pod", 60, tested)
    return held


def running(stage: Stage, sheet: Sheet) -> bool:
    """Applied resources become pods that have read their settings; say whether the pods stay alive."""

    def started() -> None:
        stage.sample("volumes")
        stage.sample("resources")
        for role in RUNTIMES:
            until(partial(_begun, stage, role), PATIENCE, stage.said)

    def told() -> None:
        seen = partial(_told, stage)
        until(lambda: all(_as_mounted(stage, role) for role in RUNTIMES), PATIENCE, lambda: f"{seen()}; {stage.said()}")

    sheet.timed("N3", "worker and query containers start under `restricted`", 30, started)
    sheet.counted("N3", "pods that Pod Security refused", 0, lambda: (_refused(stage), ""))
    alive = sheet.timed("N4", "each pod's /configz has the hash of the settings that it mounts", 60, told)
    patience = PATIENCE if alive else HOPELESS
    for kind in ("kb", "rag"):
        _expect(stage, sheet, "N5", kind, "ConfigApplied", patience)
    for aspect in ("EmbeddingReady", "TopicsReady", "CollectionReady", "Ready"):
        _expect(stage, sheet, "N6", "kb", aspect, patience)
    _expect(stage, sheet, "N6", "rag", "Ready", patience)
    sheet.counted("N7", "Kubernetes Events that name our resources (missing: 1)", 0, lambda: _events(stage))
    return alive


def used(stage: Stage, sheet: Sheet, *, alive: bool) -> None:
    """A run of each source brings documents in, and a question is answered from them."""
    request = {"metadata": {"annotations": {names.SYNC_REQUESTED: "smoke-1"}}}
    patience = PATIENCE if alive else HOPELESS

    def ran(name: str, documents: int) -> str:
        stage.patch("isrc", name, request)
        done = partial(_last_run, stage, name)
        until(lambda: done().get("result") == "Succeeded", 90 if alive else HOPELESS, lambda: f"{done()}")
        # Not what the run listed: a repository that stands where an earlier run found it lists nothing.
        shown = partial(_documents, stage, name)
        until(lambda: shown().get("indexed") == documents, patience, lambda: f"{shown()} after {done()}")
        return json.dumps(done())[:300]

    def answered(question: str, answer: str) -> str:
        ask = partial(_answer, stage, question)
        until(lambda: answer in ask()[1], patience, lambda: f"{ask()}; {stage.said()}")
        return ask()[1][:200]

    for name, place, question, answer, documents in SOURCES:
        what = f"a question is answered from the documents of {place}"
        if sheet.timed(
            "N8",
            f"a run that was asked for reads {place}, and its documents are counted",
            60,
            partial(ran, name, documents),
        ):
            sheet.timed("N9", what, 60, partial(answered, question, answer))
        else:
            sheet.skipped("N9", what, 60, "no document was brought in, see N8")


def changed(stage: Stage, sheet: Sheet, *, alive: bool) -> None:
    """A changed field reaches the pods: new settings, new pods, and the status says so."""
    patience = PATIENCE if alive else HOPELESS
    before = {role: _mounted(stage, role) for role in RUNTIMES}

    def rolled(role: str) -> None:
        until(
            lambda: before[role] and _mounted(stage, role) and not before[role] & _mounted(stage, role),
            PATIENCE,
            lambda: f"settings before {before[role]}, now {_mounted(stage, role)}; {stage.said()}",
        )

    def told(role: str) -> None:
        until(lambda: _as_mounted(stage, role), patience, lambda: f"{stage.loaded(role)}; {stage.said()}")

    stage.patch("kb", "handbook", {"spec": {"workers": {"maxAttempts": 9}}})
    stage.patch("rag", "handbook", {"spec": {"retrieval": {"topK": 7}}})
    for role, kind in zip(RUNTIMES, ("kb", "rag"), strict=True):
        sheet.timed("N10", f"a changed field gives the {role} pods new settings", 60, partial(rolled, role))
        sheet.timed("N10", f"the {role}'s /configz tells their hash", 60, partial(told, role))
        _expect(stage, sheet, "N10", kind, "ConfigApplied", patience)


def restarted(stage: Stage, sheet: Sheet, *, alive: bool) -> None:
    """A new operator pod writes nothing; a killed one comes back and mends what happened meanwhile."""
    before: dict[str, str] = {}

    def replaced() -> None:
        _rest(stage)
        before.update(stage.versions())
        old = stage.operator()["metadata"]
        stage.cluster.run("delete", "pod", old["name"], f"--namespace={SYSTEM}")
        until(lambda: stage.healthy() and stage.operator()["metadata"]["uid"] != old["uid"], PATIENCE, stage.operator)
        resources = len(stage.cluster.objects("kb,isrc,rag", TEAM))
        until(lambda: stage.passes() >= resources, PATIENCE, stage.passes)

    def killed() -> None:
        container = stage.operator()["status"]["containerStatuses"][0]
        stage.recipe.kill(container["containerID"].partition("://")[2])
        for kind, name in MENDED:
            stage.cluster.run("delete", kind, name, f"--namespace={TEAM}", "--wait=false")
        until(lambda: _restarts(stage.operator()) > container["restartCount"] and stage.healthy(), 90, stage.operator)
        for kind, name in MENDED:
            until(partial(_lives, stage, kind, name), PATIENCE, stage.said)

    if not alive:
        # pods that end again and again change their Deployments and so our statuses: writes would say nothing
        sheet.skipped("N11", "writes of a new operator pod", 0, "the runtimes' pods do not stay alive, see N4")
    elif sheet.timed("N11", "a deleted operator pod is replaced and has looked at everything", 60, replaced):
        sheet.counted("N11", "writes of the new operator (Lease and Events apart)", 0, lambda: _wrote(stage, before))
    sheet.timed("N12", "SIGKILL of the operator: back, and children deleted meanwhile are mended", 90, killed)
    for kind in ("kb", "rag"):
        _expect(stage, sheet, "N12", kind, "Ready", PATIENCE if alive else HOPELESS)


def deleted(stage: Stage, sheet: Sheet) -> None:
    """Deleted resources leave nothing: no object, no topic, no collection."""

    def gone() -> None:
        stage.cluster.run("delete", "rag,isrc,kb", "--all", f"--namespace={TEAM}", "--wait=false")
        until(lambda: not stage.cluster.objects("kb,isrc,rag", TEAM), 90, stage.said)
        until(lambda: not stage.owned(), 90, stage.owned)

    def outside() -> tuple[float, str]:
        status, body = fetch(f"{stage.machine.qdrant}/collections")
        collections = [each["name"] for each in json.loads(body)["result"]["collections"]] if status == 200 else ["?"]
        left = [*collections, *machine_end.topics(stage.machine.kafka, f"lectern.{TEAM}.")]
        return len(left), ", ".join(left)

    sheet.timed("N13", "deleted resources are gone with all their objects", 90, gone)
    sheet.counted("N13", "collections and topics left behind (deletionPolicy Delete)", 0, outside)


def removed(stage: Stage, sheet: Sheet) -> None:
    """The release goes by Helm and leaves the kinds alone."""

    def uninstalled() -> None:
        stage.helm.run("uninstall", "lectern", "--namespace", SYSTEM, "--wait", "--timeout=90s")
        until(lambda: not stage.cluster.pods(SYSTEM, ""), 60, lambda: stage.cluster.pods(SYSTEM, ""))

    sheet.timed("N14", "helm uninstall, with its hook in a pod", 90, uninstalled)


def _begun(stage: Stage, role: str) -> bool:
    """Say whether a container of `role` has been started once: what it does then is the next check's."""
    containers = [each for pod in stage.pods(role) for each in pod["status"].get("containerStatuses", ())]
    return any("running" in each["state"] or each["restartCount"] > 0 for each in containers)


def _mounted(stage: Stage, role: str) -> set[str]:
    """Return the hashes of the settings that the pods of `role` mount."""
    return {stage.settings_digest(pod) for pod in stage.pods(role)}


def _as_mounted(stage: Stage, role: str) -> bool:
    loaded = stage.loaded(role)
    pods = stage.pods(role)
    return bool(pods) and all(loaded.get(pod["metadata"]["name"]) == stage.settings_digest(pod) for pod in pods)


def _told(stage: Stage) -> Mapping[str, Mapping[str, str]]:
    return {role: stage.loaded(role) for role in RUNTIMES}


def _expect(stage: Stage, sheet: Sheet, goal: str, kind: str, aspect: str, patience: float) -> None:
    """Add a row: the condition `aspect` of the resource turns True."""

    def found() -> tuple[str, str, str]:
        return stage.condition(kind, "handbook", aspect)

    def true() -> str:
        until(lambda: found()[0] == "True", patience, lambda: " ".join(found()))
        return found()[2]

    sheet.timed(goal, f"{kind} is {aspect}", PATIENCE, true)


def _refused(stage: Stage) -> int:
    """Return how often a pod was refused because of Pod Security, in both namespaces."""
    events = [each for where in (SYSTEM, TEAM) for each in stage.cluster.objects("events", where)]
    return sum("violates PodSecurity" in each.get("message", "") for each in events)


def _events(stage: Stage) -> tuple[float, str]:
    """Return 0 and what the Events of our resources say, 1 where there are none."""
    found = [
        f"{each['involvedObject']['kind']} {each['reason']}"
        for each in stage.cluster.objects("events", TEAM)
        if each["involvedObject"].get("apiVersion", "").startswith(f"{names.LABEL_PREFIX}/")
    ]
    return (0 if found else 1), ", ".join(sorted(set(found)))


def _last_run(stage: Stage, name: str) -> Body:
    source = stage.cluster.get("isrc", TEAM, name) or {}
    found: Body = source.get("status", {}).get("lastRun", {})
    return found


def _documents(stage: Stage, name: str) -> Body:
    source = stage.cluster.get("isrc", TEAM, name) or {}
    found: Body = source.get("status", {}).get("documents", {})
    return found


def _answer(stage: Stage, question: str) -> tuple[int, str]:
    """Ask the query API through its Service."""
    service = stage.cluster.get("service", TEAM, "handbook-query")
    if service is None:
        return 0, "there is no Service"
    status, body = fetch(f"http://{service['spec']['clusterIP']}:{names.RUNTIME_PORT}/v1/query", {"question": question})
    return status, body.decode(errors="replace")


def _restarts(pod: Body) -> int:
    return sum(int(each["restartCount"]) for each in pod.get("status", {}).get("containerStatuses", ()))


def _lives(stage: Stage, kind: str, name: str) -> bool:
    found = stage.cluster.get(kind, TEAM, name)
    return found is not None and "deletionTimestamp" not in found["metadata"]


def _rest(stage: Stage) -> None:
    """Wait until the objects no longer change: two looks in a row are equal and every pod is as it will be."""
    seen: list[dict[str, str]] = [{}, {}]

    def still() -> bool:
        seen.append(stage.versions())
        return seen[-1] == seen[-2] == seen[-3] and stage.healthy()

    until(still, PATIENCE, lambda: sorted(set(seen[-1].items()) ^ set(seen[-2].items())))


def _wrote(stage: Stage, before: Mapping[str, str]) -> tuple[float, str]:
    """Return the writes that the operator counts, and which objects have another version than before."""
    after = stage.versions()
    other = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    wrote = stage.writes()
    return sum(wrote.values()) + len(other), "; ".join([*other, *wrote])
