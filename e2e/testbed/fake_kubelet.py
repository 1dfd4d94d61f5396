"""The inside of `fake_node`: watches pods and tells the API server one story per pod of its node, to the pod's end.

A story is a coroutine: wait for what the pod refers to, run, end, perhaps again. The scheduler has bound the pod
before. Whatever the API server refuses or delays is tried again; a pod that is gone ends its story.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from e2e.testbed import pod_references, pod_status
from e2e.testbed.api import Api
from e2e.testbed.pod_servers import MODELS, Model, PodServers
from e2e.testbed.pod_status import Pod, PodOutcome, Status

REFERENCE_POLL_SECONDS = 0.4
RESTART_SECONDS = 0.3
SIGTERM_EXIT = 143
MOMENT = 0.001
"""A container that ends sooner was never Ready, in seconds."""

Outcome = Callable[[Pod], PodOutcome | None]


@dataclass
class FakeNode:
    """The settings of a running fake node; a test may assign `ready_after` and `outcome` at any time.

    `ready_after` is in seconds. `outcome` is asked once for each start of a pod's containers, in the thread of the
    fake: return how they end, or None to keep them running. `waiting_for` says by `namespace/name` what a pod of the
    node lacks that is not started yet (for the messages of tests). `models` are those that embedders can serve, by
    name.
    """

    name: str
    ready_after: float
    outcome: Outcome
    waiting_for: dict[str, str] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=lambda: dict(MODELS))


class _PodGone(Exception):
    """The pod was removed, or its name belongs to another pod now: the story has nobody to tell about."""


class FakeKubelet:
    """One task per pod tells its story; a deletion ends the story and removes the pod."""

    def __init__(self, node: FakeNode, api: Api, servers: PodServers) -> None:
        self._node = node
        self._api = api
        self._servers = servers
        self._latest: dict[str, Pod] = {}
        self._stories: dict[str, asyncio.Task[None]] = {}
        self._ending: set[str] = set()

    async def run(self, path: str) -> None:
        """Follow the pods at the collection `path` that are bound to the node, for ever."""
        async with asyncio.TaskGroup() as tasks:
            async for event in self._api.watch(path, fields=f"spec.nodeName={self._node.name}"):
                seen = {pod["metadata"]["uid"]: pod for pod in event.objects}
                if event.kind == "DELETED":
                    self._forget(set(seen))
                    continue
                if event.kind == "listed":
                    self._forget(set(self._latest) - set(seen))
                for uid, pod in seen.items():
                    self._remember(pod)
                    self._take(uid, tasks)

    def _remember(self, pod: Pod) -> None:
        """Keep `pod` unless a newer version is known: answers to our own writes overtake the watch."""
        known = self._latest.get(pod["metadata"]["uid"])
        if known is None or _version(pod) >= _version(known):
            self._latest[pod["metadata"]["uid"]] = pod

    def _take(self, uid: str, tasks: asyncio.TaskGroup) -> None:
        pod = self._latest[uid]
        if "deletionTimestamp" in pod["metadata"]:
            if uid not in self._ending:
                self._cancel(uid)
                self._ending.add(uid)
                self._stories[uid] = tasks.create_task(_told(self._remove, uid))
        elif uid not in self._stories and not _is_terminal(pod):
            self._stories[uid] = tasks.create_task(_told(self._live, uid))

    def _forget(self, gone: set[str]) -> None:
        for uid in gone:
            self._latest.pop(uid, None)
            self._ending.discard(uid)
            self._servers.stop(uid)
            self._cancel(uid)

    def _cancel(self, uid: str) -> None:
        if story := self._stories.pop(uid, None):
            story.cancel()

    async def _live(self, uid: str) -> None:
        await self._wait_for_references(uid)
        pod = self._pod(uid)
        address = pod.get("status", {}).get("podIP") or self._servers.address()
        policy = pod["spec"].get("restartPolicy", "Always")
        restarts = max((each["restartCount"] for each in pod["status"].get("containerStatuses") or []), default=0)
        while True:
            outcome = self._node.outcome(self._pod(uid))
            started_at = _now()
            if outcome is None or outcome.after > 0:  # a program that ends at once answers nobody
                await self._servers.start(self._pod(uid), address)
            await self._run(uid, outcome, started_at, restarts, address)
            if outcome is None:
                return
            self._servers.stop(uid)
            ended = pod_status.terminated(outcome, started_at, _now())
            if policy == "Never" or (policy == "OnFailure" and outcome.exit_code == 0):
                await self._report(uid, _finished(ended, restarts))
                return
            restarts += 1
            await self._report(uid, _backing_off(ended, restarts))
            await asyncio.sleep(RESTART_SECONDS)

    async def _wait_for_references(self, uid: str) -> None:
        pod = self._pod(uid)
        key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        told: str | None = None
        for reference in sorted(pod_references.references(pod), key=lambda each: each.stage != "mount"):
            while problem := await self._problem(pod, reference):
                self._node.waiting_for[key] = problem
                if told != problem:
                    await self._report(uid, _waiting(reference.stage, problem))
                    told = problem
                await asyncio.sleep(REFERENCE_POLL_SECONDS)
        self._node.waiting_for.pop(key, None)

    async def _problem(self, pod: Pod, reference: pod_references.Reference) -> str | None:
        namespace = pod["metadata"]["namespace"]
        path = f"/api/v1/namespaces/{namespace}/{reference.resource}/{reference.name}"
        return pod_references.problem(reference, namespace, await self._api.insist("GET", path))

    async def _run(self, uid: str, outcome: PodOutcome | None, started_at: str, restarts: int, address: str) -> None:
        """Report Running, and Ready after the node's time unless the containers end before."""
        unready = self._node.ready_after
        after = None if outcome is None else outcome.after
        reaches_ready = after is None or after >= max(unready, MOMENT)
        if unready > 0 or not reaches_ready:
            await self._report(uid, _running(False, started_at, restarts, address))
            await asyncio.sleep(unready if after is None else min(unready, after))
        if reaches_ready:
            await self._report(uid, _running(True, started_at, restarts, address))
            await asyncio.sleep(0 if after is None else max(0.0, after - unready))

    async def _remove(self, uid: str) -> None:
        """End a pod that is being deleted: report its killed containers, then confirm the deletion."""
        pod = self._pod(uid)
        self._servers.stop(uid)
        if pod.get("status", {}).get("phase") == "Running":
            ended = pod_status.terminated(PodOutcome(SIGTERM_EXIT), _now(), _now())
            counts = [each["restartCount"] for each in pod["status"].get("containerStatuses") or []]
            await self._report(uid, _finished(ended, max(counts, default=0)))
        confirm = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        await self._api.insist("DELETE", _path(pod), confirm)

    def _pod(self, uid: str) -> Pod:
        try:
            return self._latest[uid]
        except KeyError:
            raise _PodGone from None

    async def _report(self, uid: str, status_of: Callable[[Pod], Status]) -> None:
        """Send the status that `status_of` makes of the pod as known now."""
        pod = self._pod(uid)
        if _is_terminal(pod):
            raise _PodGone  # somebody else ended it (pod garbage collection): a kubelet leaves it so
        body = {"metadata": {"uid": uid}, "status": status_of(pod)}
        answer = await self._api.insist("PATCH", f"{_path(pod)}/status", body)
        if answer is None:
            raise _PodGone
        self._remember(answer)


async def _told(story: Callable[[str], Coroutine[Any, Any, None]], uid: str) -> None:
    # a coroutine made by the caller would never be awaited where the task is cancelled before its first step
    with suppress(_PodGone):
        await story(uid)


def _waiting(stage: pod_references.Stage, problem: str) -> Callable[[Pod], Status]:
    # A kubelet tells a missing volume in an event only; the state has a message for the environment alone.
    reason, message = ("ContainerCreating", "") if stage == "mount" else ("CreateContainerConfigError", problem)
    return lambda pod: pod_status.waiting(pod, reason, message, _now())


def _running(ready: bool, started_at: str, restarts: int, address: str) -> Callable[[Pod], Status]:
    return lambda pod: pod_status.running(
        pod, _now(), ready=ready, started_at=started_at, restarts=restarts, address=address
    )


def _backing_off(ended: Mapping[str, Any], restarts: int) -> Callable[[Pod], Status]:
    return lambda pod: pod_status.backing_off(pod, ended, _now(), restarts=restarts)


def _finished(ended: Mapping[str, Any], restarts: int) -> Callable[[Pod], Status]:
    return lambda pod: pod_status.finished(pod, ended, _now(), restarts=restarts)


def _is_terminal(pod: Pod) -> bool:
    return pod.get("status", {}).get("phase") in pod_status.TERMINAL


def _version(pod: Pod) -> int:
    return int(pod["metadata"]["resourceVersion"])


def _path(pod: Pod) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
