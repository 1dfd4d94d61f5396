"""Reads and writes the children of one owner: the part of a pass that is the same for every kind.

What is observed may be behind what is: a child that seems to be missing is made only where there is none, an apply
names the very object that it is meant for, and before anything is deleted it is looked at live.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lectern_contract import labels, names
from lectern_contract.errors import ResourceInvalid
from lectern_contract.resources import AnyResource, KnowledgeBase
from lectern_operator.clients import kinds
from lectern_operator.clients.errors import NotFound, NotServed, Outdated, Refused
from lectern_operator.desired.deployment import handed_over
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import changes as compare
from lectern_operator.policies.changes import Changes, Key, key, owned
from lectern_operator.reconcilers.world import Cluster, Manifest, World

T = TypeVar("T")
_WORKLOADS = frozenset({"CronJob", "Deployment"})


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of the changes: the children as they are now, which were written, and what was refused.

    `paused` are those that would have been written or deleted and carry the annotation that forbids it.
    """

    children: Mapping[Key, Manifest]
    written: frozenset[Key] = frozenset()
    refusals: tuple[str, ...] = ()
    paused: frozenset[Key] = frozenset()


@dataclass(slots=True)
class _Progress:
    children: dict[Key, Manifest]
    uid: str
    written: set[Key] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)
    refused: set[Key] = field(default_factory=set)
    paused: set[Key] = field(default_factory=set)


async def together(*reads: Awaitable[T]) -> list[T]:
    """Await all `reads` at once and to their end, then raise the first error there was: none runs on unheard."""
    found = await asyncio.gather(*reads, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if not isinstance(each, BaseException)]


async def listed(resource: AnyResource, world: World, *kinds: str) -> dict[Key, Manifest]:
    """Return the children of these kinds; what only carries a copy of our label is none."""
    uid, namespace = resource.metadata.uid, resource.namespace
    lists = await together(*(world.cluster.children(kind, namespace, uid) for kind in kinds))
    return family([child for children in lists for child in children], uid)


async def listed_if_served(resource: AnyResource, world: World, *kinds: str) -> tuple[dict[Key, Manifest], Fact[bool]]:
    """Return the children of optional kinds, and whether these kinds are served at all."""
    served = await together(*(world.cluster.served(kind) for kind in kinds))
    if any(fact == Known(value=False) for fact in served):
        return {}, Known(value=False)
    for fact in served:
        if isinstance(fact, Unknown):
            return {}, fact
    try:
        return await listed(resource, world, *kinds), Known(value=True)
    except NotServed:
        return {}, Known(value=False)
    except Refused as error:
        return {}, Unknown(str(error))


def family(found: Iterable[Manifest], uid: str) -> dict[Key, Manifest]:
    """Return those of `found` that belong to the resource `uid`: its own children, and what controllers made of them.

    A Job of a CronJob and a pod of a Job name their maker. A pod of a Deployment names a ReplicaSet, which is not read
    here but carries the Deployment's name. A Deployment of another name than ours have was copied from one of them by
    somebody, with all its labels and owner references: its pods are theirs.
    """
    children = list(found)
    mine = [child for child in children if owned(child, uid)]
    workloads = [child for child in mine if child["kind"] in ("CronJob", "Job") or _is_our_deployment(child, uid)]
    makers = {str(child["metadata"]["uid"]) for child in workloads}
    jobs = [child for child in children if child["kind"] == "Job" and not owned(child, uid) and _made(child, makers)]
    makers |= {str(job["metadata"]["uid"]) for job in jobs}
    deployments = tuple(f"{name}-" for kind, name in map(key, workloads) if kind == "Deployment")
    pods = [
        child
        for child in children
        if child["kind"] == "Pod" and not owned(child, uid) and (_made(child, makers) or _replica(child, deployments))
    ]
    return {key(child): child for child in (*mine, *jobs, *pods)}


def _is_our_deployment(child: Mapping[str, Any], uid: str) -> bool:
    metadata = child["metadata"]
    role = (metadata.get("labels") or {}).get(labels.ROLE)
    owners = [each.get("name") for each in metadata.get("ownerReferences", ()) if each.get("uid") == uid]
    return child["kind"] == "Deployment" and metadata["name"] in {f"{owner}-{role}" for owner in owners}


def _made(child: Mapping[str, Any], makers: set[str]) -> bool:
    return any(each.get("uid") in makers for each in child["metadata"].get("ownerReferences", ()))


def _replica(pod: Mapping[str, Any], deployments: tuple[str, ...]) -> bool:
    references = pod["metadata"].get("ownerReferences", ())
    return any(each.get("kind") == "ReplicaSet" and str(each["name"]).startswith(deployments) for each in references)


def is_paused(child: Mapping[str, Any]) -> bool:
    """Say whether somebody asked for `child` to be left as it is."""
    return bool((child["metadata"].get("annotations") or {}).get(names.PAUSED) == "true")


async def knowledge_base(name: str, namespace: str, world: World) -> Fact[KnowledgeBase | None]:
    """Return the knowledge base `name`, None when there is none, or why it cannot be read."""
    try:
        return Known(world.parsed.knowledge_base(await world.cluster.owner("KnowledgeBase", namespace, name)))
    except NotFound:
        return Known(None)
    except ResourceInvalid as error:
        return Unknown(f"{error}; correct the knowledge base first")


def settings_in_use(
    wanted: Iterable[Manifest], children: Mapping[Key, Manifest], pods: Iterable[Mapping[str, Any]]
) -> frozenset[Key]:
    """Return the ConfigMaps that are in use once `wanted` is applied.

    A CronJob mounts what it is given at once, where a Deployment rolls out for a while.
    """
    schedules = {key(each): each for each in wanted if each["kind"] == "CronJob"}
    new = {name: each for name, each in schedules.items() if name in children and not is_paused(children[name])}
    return compare.settings_in_use({**children, **new}, pods)


async def write(changes: Changes, children: Mapping[Key, Manifest], uid: str, world: World) -> Applied:
    """Carry out `changes` in their order; a refusal is noted and does not keep the rest from being done.

    A workload whose pods need what was refused stays as it is.
    Raises `Outdated` and `NotFound` where what was observed is not what is; then the pass has to be repeated.
    """
    progress, cluster = _Progress(dict(children), uid), world.cluster
    await _prune(changes.prune_first, progress, cluster)
    for manifest in changes.apply:
        if compare.needs(manifest, progress.refused):
            continue
        try:
            await _apply(manifest, progress, cluster)
        except Refused as error:
            progress.refusals.append(str(error))
            progress.refused.add(key(manifest))
    if not progress.refusals:  # what was refused may need what would be pruned
        await _prune(await _unused(changes.prune, progress, cluster), progress, cluster)
    return Applied(progress.children, frozenset(progress.written), tuple(progress.refusals), frozenset(progress.paused))


async def _apply(manifest: Manifest, progress: _Progress, cluster: Cluster) -> None:
    """Apply `manifest` to the child that was observed, or make it where none was."""
    known = progress.children.get(key(manifest))
    if known is not None:
        try:
            await _update(manifest, known, progress, cluster)
            return
        except Outdated:  # it went, or was made anew, since it was observed
            if (live := await _live(known, cluster)) is not None:
                # It is there after all, and somebody else was writing it: forgotten, it would not be seen again.
                await _update(manifest, live, progress, cluster)
                return
            del progress.children[key(manifest)]
    found = await _make(manifest, progress, cluster)
    if found is None:
        return
    kind, name = key(manifest)
    _must_be_ours(found, manifest, progress.uid)
    progress.children[kind, name] = found
    if compare.changes([manifest], {(kind, name): found}, uid=progress.uid).apply:
        await _update(manifest, found, progress, cluster)


def _must_be_ours(found: Manifest, manifest: Manifest, uid: str) -> None:
    """Refuse to take over an object of that name that we did not make: forced apply would."""
    references = found["metadata"].get("ownerReferences", ())
    if owned(found, uid) or (not references and _applied_by_us(found)):
        return  # one that lost its owner references is taken back
    kind, name = key(manifest)
    owners = {(each["kind"], each["name"]) for each in manifest["metadata"].get("ownerReferences", ())}
    if any((each.get("kind"), each.get("name")) in owners for each in references):
        raise Outdated(f"{kind} {name} belongs to a resource of that name that was deleted, and goes with it first")
    raise Refused(
        f"{kind} {name} exists already and is not ours: delete it, or give the resource another name", status=409
    )


def _applied_by_us(found: Manifest) -> bool:
    fields = found["metadata"].get("managedFields", ())
    return any(each.get("manager") == names.FIELD_MANAGER and each.get("operation") == "Apply" for each in fields)


async def _update(manifest: Manifest, known: Manifest, progress: _Progress, cluster: Cluster) -> None:
    if is_paused(known):
        progress.paused.add(key(manifest))
        return
    uid = known["metadata"]["uid"]
    if (held := handed_over(manifest, known)) is not None:
        await cluster.hold({**held, "metadata": {**held["metadata"], "uid": uid}})
    named = {**manifest["metadata"], "uid": uid}
    progress.children[key(manifest)] = await cluster.apply({**manifest, "metadata": named})
    progress.written.add(key(manifest))


async def _make(manifest: Manifest, progress: _Progress, cluster: Cluster) -> Manifest | None:
    """Make the child unless there is an object of that name: then return it instead."""
    kind, name = key(manifest)
    if not kinds.ALL[kind].watched:  # nobody told whether there is one
        with contextlib.suppress(NotFound):
            return await cluster.get(kind, manifest["metadata"]["namespace"], name)
    try:
        progress.children[kind, name] = await cluster.apply_new(manifest)
        progress.written.add((kind, name))
        return None
    except Outdated:
        return await cluster.get(kind, manifest["metadata"]["namespace"], name)


async def _prune(surplus: Iterable[Manifest], progress: _Progress, cluster: Cluster) -> None:
    for child in surplus:
        try:
            await _delete(child, progress, cluster)
        except Refused as error:
            progress.refusals.append(str(error))


async def _delete(child: Manifest, progress: _Progress, cluster: Cluster) -> None:
    """Delete `child` if it is still there, still ours, and nobody asked to leave it."""
    kind, name = key(child)
    if is_paused(child):
        progress.paused.add((kind, name))
        return
    live = await _live(child, cluster)
    # an owner reference can be copied with all the rest: only what we have applied is ours to delete
    if live is None or not owned(live, progress.uid) or not _applied_by_us(live):
        progress.children.pop((kind, name), None)
        return
    if is_paused(live):
        progress.children[kind, name] = live
        progress.paused.add((kind, name))
        return
    await cluster.delete(live)
    progress.children.pop((kind, name), None)


async def _live(child: Manifest, cluster: Cluster) -> Manifest | None:
    """Return `child` as it is now; None when that very object is gone."""
    kind, name = key(child)
    try:
        live = await cluster.get(kind, child["metadata"]["namespace"], name)
    except NotFound:
        live = None
    if live is None or live["metadata"]["uid"] != child["metadata"]["uid"]:
        await cluster.lost(child)
        return None
    return live


async def _unused(surplus: Iterable[Manifest], progress: _Progress, cluster: Cluster) -> list[Manifest]:
    """Return `surplus` without the ConfigMaps that a workload mounts after all, going by what the workloads are now.

    Raises `Outdated` when a workload is not what was observed: then nobody knows what its pods mount.
    """
    left = list(surplus)
    if not any(child["kind"] == "ConfigMap" for child in left):
        return left
    for name, child in list(progress.children.items()):
        if name[0] in _WORKLOADS and name not in progress.written:
            live = await _live(child, cluster)
            if live is None or _generation(live) != _generation(child):
                raise Outdated(f"{'/'.join(name)} was changed since it was observed; what it mounts is not deleted")
            progress.children[name] = live
    used = compare.settings_in_use(progress.children, ()) if _told_all(progress.children) else None
    return [child for child in left if child["kind"] != "ConfigMap" or (used is not None and key(child) not in used)]


def _told_all(children: Mapping[Key, Manifest]) -> bool:
    """Say whether every Job that a CronJob has started is known."""
    return all(
        ("Job", job["name"]) in children
        for child in children.values()
        if child["kind"] == "CronJob"
        for job in child.get("status", {}).get("active", ())
    )


def _generation(child: Mapping[str, Any]) -> int:
    return int(child["metadata"].get("generation", 0))
