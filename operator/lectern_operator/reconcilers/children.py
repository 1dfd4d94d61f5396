"""Reads and writes the children of one owner: the part of a pass that is the same for every kind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lectern_contract.errors import ResourceInvalid
from lectern_contract.resources import AnyResource, KnowledgeBase, parse_as
from lectern_operator.clients.errors import NotFound, NotServed, Refused
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies.changes import Changes, Key, key, owned
from lectern_operator.reconcilers.world import Cluster, Manifest, World

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of the changes: the children as they are now, which were written, and what was refused."""

    children: Mapping[Key, Manifest]
    written: frozenset[Key] = frozenset()
    refusals: tuple[str, ...] = ()


@dataclass(slots=True)
class _Progress:
    children: dict[Key, Manifest]
    written: set[Key] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)


async def together(*reads: Awaitable[T]) -> list[T]:
    """Await all `reads` at once and to their end, then raise the first error there was: none runs on unheard."""
    found = await asyncio.gather(*reads, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if not isinstance(each, BaseException)]


async def listed(resource: AnyResource, world: World, *kinds: str) -> dict[Key, Manifest]:
    """Return the children of these kinds, read at the same time."""
    uid, namespace = resource.metadata.uid, resource.namespace
    lists = await together(*(world.cluster.children(kind, namespace, uid) for kind in kinds))
    return {key(child): child for children in lists for child in children}


async def listed_if_served(resource: AnyResource, world: World, *kinds: str) -> tuple[dict[Key, Manifest], Fact[bool]]:
    """Return the children of optional kinds, and whether these kinds are served at all."""
    try:
        return await listed(resource, world, *kinds), Known(value=True)
    except NotServed:
        return {}, Known(value=False)
    except Refused as error:
        return {}, Unknown(str(error))


async def knowledge_base(name: str, namespace: str, world: World) -> Fact[KnowledgeBase | None]:
    """Return the knowledge base `name`, None when there is none, or why it cannot be read."""
    try:
        return Known(parse_as(KnowledgeBase, await world.cluster.get("KnowledgeBase", namespace, name)))
    except NotFound:
        return Known(None)
    except ResourceInvalid as error:
        return Unknown(f"{error}; correct the knowledge base first")


async def write(changes: Changes, children: Mapping[Key, Manifest], uid: str, world: World) -> Applied:
    """Carry out `changes` in their order; a refusal is noted and does not keep the rest from being done."""
    progress = _Progress(dict(children))
    await _prune(changes.prune_first, progress, world.cluster)
    for manifest in changes.apply:
        try:
            if key(manifest) not in children:
                await _must_be_free(manifest, uid, world.cluster)
            progress.children[key(manifest)] = await world.cluster.apply(manifest)
            progress.written.add(key(manifest))
        except Refused as error:
            progress.refusals.append(str(error))
    if not progress.refusals:  # what was refused may need what would be pruned
        await _prune(changes.prune, progress, world.cluster)
    return Applied(progress.children, frozenset(progress.written), tuple(progress.refusals))


async def _prune(surplus: Iterable[Manifest], progress: _Progress, cluster: Cluster) -> None:
    for child in surplus:
        try:
            await cluster.delete(child)
            progress.children.pop(key(child), None)
        except Refused as error:
            progress.refusals.append(str(error))


async def _must_be_free(manifest: Manifest, uid: str, cluster: Cluster) -> None:
    """Refuse to take over an object of that name that is not a child of `uid`: forced apply would."""
    kind, name = key(manifest)
    try:
        found = await cluster.get(kind, manifest["metadata"]["namespace"], name)
    except NotFound:
        return
    if not owned(found, uid):
        raise Refused(
            f"{kind} {name} exists already and is not ours: delete it, or give the resource another name", status=409
        )
