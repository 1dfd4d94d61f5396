"""How a deleted KnowledgeBase lets go: what writes is stopped, then what lies outside is deleted or cut loose.

Each step looks again before the next, so that a pass that ended in the middle is simply made again. The finalizer goes
last. Without one, there is nothing to do: children go with their owner reference.
"""

from __future__ import annotations

from lectern_contract import labels, names
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase
from lectern_operator.desired.hold import hold
from lectern_operator.desired.kafka_topics import cut_loose
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import collection, deletion, topics
from lectern_operator.policies.changes import Key, Manifest
from lectern_operator.policies.deletion import Progress
from lectern_operator.reconcilers import external, guarded
from lectern_operator.reconcilers import knowledge_base as reconciler
from lectern_operator.reconcilers.world import Outcome, World

WRITERS = ("ScaledObject", "Deployment")
"""What starts workers, and the workers: stopped first, in this order, or they would fill what is being deleted."""
AGAIN_SECONDS = 2.0


async def release(kb: KnowledgeBase, world: World) -> Outcome | None:
    """Do the next thing that the deletion of `kb` needs; None when nothing is left to do or to say."""
    if names.FINALIZER not in kb.metadata.finalizers:
        return None
    found, _, _, _ = await reconciler.observe_children(kb, world)
    progress = await _stop_writers(found, world)
    if progress is None:
        progress = await _cut_loose(kb, found, world)
    if progress is None:
        progress = await _outside(kb, world)
    if progress is None:
        await world.cluster.apply(hold(kb, held=False))
        return None
    return Outcome(deletion.report(kb, progress, now=world.now()), again_after=AGAIN_SECONDS)


async def _stop_writers(found: dict[Key, Manifest], world: World) -> Progress | None:
    for kind in WRITERS:
        for name, child in sorted(found.items()):
            if name == (kind, child["metadata"]["name"]) and _is_worker(child):
                if not child["metadata"].get("deletionTimestamp"):
                    await world.cluster.delete(child)
                return Progress(waiting=f"{kind} {name[1]} is being deleted")
    pods = [name for (kind, name), child in sorted(found.items()) if kind == "Pod" and _is_worker(child)]
    return Progress(waiting=f"pod {pods[0]} still ends") if pods else None


async def _cut_loose(kb: KnowledgeBase, found: dict[Key, Manifest], world: World) -> Progress | None:
    """With Retain, let Strimzi know that topics outlive their KafkaTopics."""
    kafka = {name: child for (kind, name), child in found.items() if kind == topics.KIND}
    if kb.spec.deletion_policy != "Retain":
        return None
    held = topics.held_by_strimzi(kafka)
    for manifest in cut_loose(kb, {name: kafka[name] for name in held}):
        await world.cluster.apply(manifest)
    return None


async def _outside(kb: KnowledgeBase, world: World) -> Progress | None:
    """Delete collections and topics; say what cannot be done now."""
    servers = await external.servers(kb, world.outside)
    seen = await external.observe(kb, (), servers, world.outside)
    failures: list[str] = []
    of_store, of_broker = collection.deletion(kb, store=seen.store), topics.deletion(kb, broker=seen.broker)
    if isinstance(of_store, Known) and isinstance(of_broker, Known) and not of_store.value and not of_broker.value:
        return None
    await guarded.confirm(world)
    failures += await _taken(of_store, servers.store, world.outside.stores)
    failures += await _taken(of_broker, servers.broker, world.outside.brokers)
    return Progress(waiting="collections and topics are being deleted", failures=tuple(failures))


async def _taken(
    steps: Fact[tuple[external.Step, ...]],
    server: Fact[external.Server],
    system: external.Performs[external.Server, external.Step],
) -> list[str]:
    """Take the steps; return what keeps them from being taken."""
    if isinstance(steps, Unknown):
        return [steps.reason]
    if isinstance(server, Unknown):
        return [server.reason] if steps.value else []
    for step in steps.value:
        done = await system.perform(server.value, step)
        if isinstance(done, Unknown):
            return [done.reason]
    return []


def _is_worker(child: Manifest) -> bool:
    return bool(child["metadata"].get("labels", {}).get(labels.ROLE) == Role.WORKER)
