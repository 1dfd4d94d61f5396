"""A5, second half: lives through mutations of specs and judges what the operator makes of each.

Several lanes at once, each a namespace with the three resources. A mutation is applied, judged, and taken back; now
and then the same spec is created in a namespace of its own, to compare what was changed with what is fresh.
"""

from __future__ import annotations

import copy
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from e2e.faults import golden
from e2e.faults.arena import POLL_SECONDS, Arena, NotSettled, is_settled, until
from e2e.faults.conventions import is_alarm
from e2e.faults.mirror import Seen
from e2e.faults.mutations import Mutation
from e2e.faults.process import Operator, ended_with_block
from e2e.faults.scenarios import PLURALS, Document, User, trio
from e2e.testbed.errors import ApiRefused
from lectern_contract.resources.reasons import Reason

LANES = 6
SAY_SECONDS = 10.0
SETTLE_SECONDS = 30.0
QUIET_SECONDS = 0.4
FRESH_EVERY = 5
REJECTED = frozenset({"InvalidSpec", "NotOnCluster"})
"""Reasons of Ready that say that the spec itself cannot be acted on."""
REASONS = frozenset(str(each) for each in Reason)
REVISION = "deployment.kubernetes.io/revision"
NAMES = {"KnowledgeBase": "docs", "IngestionSource": "guides", "RagEndpoint": "ask"}


@dataclass
class Verdict:
    """What came of one mutation: `refused` by the API server, or taken; `wrong` is empty where all held."""

    mutation: Mutation
    refused: str = ""
    unchanged: bool = False
    said_after: float = 0.0
    ready: bool = False
    rejected: bool = False
    fresh: bool = False
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return it in one line, with what repeats it."""
        return f"mutation={self.mutation}: " + "; ".join(self.wrong)


def run(
    arena: Arena,
    tried: Sequence[Mutation],
    *,
    lanes: int = LANES,
    told: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Live through all mutations with one operator, `lanes` at a time."""
    waiting: queue.SimpleQueue[Mutation] = queue.SimpleQueue()
    for mutation in tried:
        waiting.put(mutation)
    found: list[Verdict] = []
    lock = threading.Lock()
    namespaces = arena.prepared(lanes, "mutated")
    operator = Operator(arena.plane.kubeconfig, arena.directory)

    def work(namespace: str) -> None:
        lane = Lane(arena, namespace)
        while not waiting.empty():
            try:
                mutation = waiting.get_nowait()
            except queue.Empty:
                return
            if lane.waits_for_a_run():
                # A run that was started for settings which were taken back waits for what they named.
                lane = Lane(arena, _another(arena))
            verdict = lane.lived_through(mutation)
            if verdict.wrong:
                lane = Lane(arena, _another(arena))  # what is left of it would be blamed on the next
            with lock:
                found.append(verdict)
                told(verdict)

    with ended_with_block(operator):
        operator.start()
        operator.await_healthy()
        with ThreadPoolExecutor(lanes) as threads:
            for done in [threads.submit(work, namespace) for namespace in namespaces]:
                done.result()
        operator.stop()
    return found


def _another(arena: Arena) -> str:
    (namespace,) = arena.namespaces(1, "mutated")
    for document in trio(arena.world):
        arena.user(namespace).create(document)
    until(lambda: is_settled(arena.mirror, namespace), 2 * SETTLE_SECONDS, f"{namespace} is not Ready")
    return namespace


class Lane:
    """One namespace in which mutations are lived through, one after the other."""

    def __init__(self, arena: Arena, namespace: str) -> None:
        self._arena = arena
        self._user = User(arena.plane, namespace)
        self._namespace = namespace

    def waits_for_a_run(self) -> bool:
        """Wait for everything to be Ready, and say whether a run that goes on is what it lacks."""
        try:
            self._await_rest("it")
        except NotSettled:
            conditions = self._body("IngestionSource").get("status", {}).get("conditions", ())
            return any(each["type"] == "Ready" and each["reason"] == "Running" for each in conditions)
        return False

    def _await_rest(self, what: object) -> None:
        settled = partial(is_settled, self._arena.mirror, self._namespace)
        until(settled, SETTLE_SECONDS, f"{what} cannot begin: Ready")

    def lived_through(self, mutation: Mutation) -> Verdict:
        """Apply, judge, take back, judge; what does not come to rest is wrong, and the others go on."""
        verdict = Verdict(mutation)
        try:
            self._live_through(mutation, verdict)
        except NotSettled as error:
            verdict.wrong.append(str(error))
        return verdict

    def _live_through(self, mutation: Mutation, verdict: Verdict) -> None:
        name = NAMES[mutation.kind]
        self._await_rest(mutation)
        self._rest()
        before, stood = self._state(), self._deployments()
        original = self._user.plane.request("GET", self._user.path(mutation.kind, name))
        try:
            changed = self._replace(mutation.kind, name, mutation.spec)
        except ApiRefused as refused:
            verdict.refused = str(refused)
            verdict.wrong += self._differs(before, "after a change that the API server refused")
            return
        if changed["metadata"]["generation"] == original["metadata"]["generation"]:
            verdict.unchanged = True
            return
        self._judge(verdict, changed, before, stood)
        # What another resource refuses to follow stays as it was, and would not be made anew.
        settled = is_settled(self._arena.mirror, self._namespace)
        if mutation.number % FRESH_EVERY == 0 and not verdict.wrong and verdict.ready and settled:
            verdict.fresh = True
            verdict.wrong += self._compare_with_fresh(mutation)
        self._replace(mutation.kind, name, original["spec"])
        verdict.wrong += self._differs(before, "after the change was taken back")

    def _judge(self, verdict: Verdict, changed: Document, before: golden.Golden, stood: Mapping[str, Document]) -> None:
        mutation = verdict.mutation
        began, generation = time.monotonic(), changed["metadata"]["generation"]
        while (body := self._body(mutation.kind)).get("status", {}).get("observedGeneration") != generation:
            if time.monotonic() - began > SAY_SECONDS:
                verdict.wrong.append(f"nothing was said within {SAY_SECONDS:.0f} s")
                return
            time.sleep(POLL_SECONDS)
        verdict.said_after = time.monotonic() - began
        self._rest()
        body = self._body(mutation.kind)
        conditions = {each["type"]: each for each in body["status"].get("conditions", ())}
        verdict.wrong += _unexplained(conditions)
        ready = conditions.get("Ready", {})
        verdict.ready, verdict.rejected = ready.get("status") == "True", ready.get("reason") in REJECTED
        if verdict.rejected:
            verdict.wrong += self._untouched(before)
        elif not verdict.ready:
            verdict.wrong += self._unharmed(stood)

    def _untouched(self, before: golden.Golden) -> list[str]:
        """Return what of the workload differs although the spec cannot be acted on."""
        titles = {title for title in before if not title.startswith(tuple(PLURALS.values()))}
        lines = golden.differences(_only(before, titles), _only(self._state(), titles))
        return [f"the workload was touched although the spec is refused: {line}" for line in lines[:3]]

    def _unharmed(self, stood: Mapping[str, Document]) -> list[str]:
        """Return which Deployments have fewer pods available than before although nobody asked for fewer."""
        found = []
        for name, now in self._deployments().items():
            if name in stood and _may_overlap(now):
                had, has = (each.get("status", {}).get("availableReplicas", 0) for each in (stood[name], now))
                wanted = now["spec"].get("replicas", had)
                if has < min(had, wanted):
                    found.append(f"{name} has {has} instead of {had} pods available while the change does not work")
        return found

    def _deployments(self) -> dict[str, Document]:
        """Return the Deployments as they are, by name."""
        live = self._arena.mirror.live(self._namespace)
        return {each.body["metadata"]["name"]: each.body for each in live if each.plural == "deployments"}

    def _compare_with_fresh(self, mutation: Mutation) -> list[str]:
        """Create the same resources in a new namespace and compare its end with this one's."""
        (namespace,) = self._arena.namespaces(1, "fresh")
        user = User(self._arena.plane, namespace)
        for document in trio(self._arena.world):
            is_it = document["kind"] == mutation.kind
            user.create({**document, "spec": copy.deepcopy(mutation.spec)} if is_it else document)
        mirror, deadline = self._arena.mirror, time.monotonic() + SETTLE_SECONDS
        lines = ["nothing was made"]
        while lines and time.monotonic() < deadline:
            time.sleep(4 * POLL_SECONDS)
            lines = golden.differences(comparable(mirror.live(namespace), namespace), self._state())
        self._remove(user)
        return [f"changed is not as fresh: {line}" for line in lines[:3]]

    def _remove(self, user: User) -> None:
        for kind, name in NAMES.items():
            user.delete(kind, name)

    def _replace(self, kind: str, name: str, spec: Mapping[str, Any]) -> Document:
        """Put another spec in place, as `kubectl replace` does, whoever writes the status meanwhile."""
        path = self._user.path(kind, name)
        while True:
            body = self._user.plane.request("GET", path)
            try:
                return self._user.plane.request("PUT", path, {**body, "spec": spec})
            except ApiRefused as refused:
                if refused.status != 409:
                    raise

    def _differs(self, before: golden.Golden, when: str) -> list[str]:
        """Wait until the namespace is as before; return what differs at the end of the time."""
        deadline, lines = time.monotonic() + SETTLE_SECONDS, ["?"]
        while lines and time.monotonic() < deadline:
            lines = golden.differences(before, self._state())
            time.sleep(POLL_SECONDS)
        return [f"{when}: {line}" for line in lines[:3]]

    def _rest(self) -> None:
        """Wait until nothing changes, for a bounded time."""
        mirror, deadline = self._arena.mirror, time.monotonic() + SETTLE_SECONDS
        changes, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS and time.monotonic() < deadline:
            if (now := mirror.changes(self._namespace)) != changes:
                changes, since = now, time.monotonic()
            time.sleep(POLL_SECONDS)

    def _state(self) -> golden.Golden:
        return comparable(self._arena.mirror.live(self._namespace), self._namespace)

    def _body(self, kind: str) -> Document:
        return self._user.plane.request("GET", self._user.path(kind, NAMES[kind]))


def _unexplained(conditions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{name}={each['status']} is not explained: reason {each.get('reason')!r}, message {each.get('message')!r}"
        for name, each in conditions.items()
        if is_alarm(each) and (each.get("reason") not in REASONS or not each.get("message"))
    ]


def comparable(objects: Sequence[Seen], namespace: str) -> golden.Golden:
    """Return an end state without what its history leaves in it.

    Runs of a source and their settings, generations, revisions of Deployments, the wording of conditions, the number of
    replicas where something scales them, and the salts of model servers: the operator has no right to take a Secret
    away, so one that it made stays as long as its owner.
    """
    kept = {}
    state = golden.masked_state([_without_past(each) for each in objects if not _is_history(each)], namespace)
    scaled = {each["spec"]["scaleTargetRef"]["name"] for title, each in state.items() if _scales(title)}
    for title, body in state.items():
        body["metadata"].get("annotations", {}).pop(REVISION, None)
        body["metadata"].pop("generation", None)
        if title.startswith("deployments/") and body["metadata"]["name"] in scaled:
            body["spec"].pop("replicas", None)
            body.pop("status", None)
        kept[title] = body["status"] if title.startswith(tuple(PLURALS.values())) else body
    return kept


def _without_past(seen: Seen) -> Seen:
    """Return one of the three with no more than the truth of its conditions: its status tells of earlier runs."""
    if seen.plural not in PLURALS.values():
        return seen
    status = seen.body.get("status", {})
    return Seen(seen.plural, {**seen.body, "status": _truths(status, seen.plural)}, seen.first)


def _may_overlap(deployment: Mapping[str, Any]) -> bool:
    """Say whether old pods stay until new ones are ready: those that hold a device alone cannot."""
    strategy = deployment["spec"].get("strategy", {})
    surge = strategy.get("rollingUpdate", {}).get("maxSurge", "25%")
    return bool(strategy.get("type") != "Recreate" and surge != 0)


def _is_history(seen: Seen) -> bool:
    return seen.plural in ("jobs", "secrets") or (
        seen.plural == "configmaps" and "-connector-" in seen.body["metadata"]["name"]
    )


def _scales(title: str) -> bool:
    return title.startswith(("scaledobjects/", "horizontalpodautoscalers/"))


def _truths(status: Mapping[str, Any], plural: str) -> dict[str, str]:
    runs = plural == PLURALS["IngestionSource"]  # why it is Ready depends on the runs that there were
    found = {
        each["type"]: each["status"] if runs else f"{each['status']} {each['reason']}"
        for each in status.get("conditions", ())
    }
    # They tell of the last run, asked long ago; a fresh source has one under way, whose pod may find no node.
    for past in ("Synced", "Ready", "Reconciling", "Stalled") if runs else ():
        found.pop(past, None)
    return found


def _only(state: golden.Golden, titles: set[str]) -> golden.Golden:
    return {title: body for title, body in state.items() if title in titles}
