"""One pass over a KnowledgeBase: observe, decide, apply, report."""

from __future__ import annotations

from dataclasses import replace

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase
from lectern_operator.clients.errors import Outdated
from lectern_operator.desired import knowledge_base as desired
from lectern_operator.desired.hold import hold
from lectern_operator.desired.kafka_topics import cut_loose
from lectern_operator.facts import Fact
from lectern_operator.policies import changes, deletion, documents, topics
from lectern_operator.policies import knowledge_base as policy
from lectern_operator.policies.changes import Key, Manifest
from lectern_operator.reconcilers import children, external
from lectern_operator.reconcilers.external import Servers
from lectern_operator.reconcilers.world import Outcome, World

KINDS = (
    "ServiceAccount",
    "NetworkPolicy",
    "ConfigMap",
    "PersistentVolumeClaim",
    "Service",
    "PodDisruptionBudget",
    "Deployment",
)
SCALER_KINDS = ("TriggerAuthentication", "ScaledObject")


async def reconcile(kb: KnowledgeBase, world: World) -> Outcome:
    """Bring the cluster, the broker and the store to what `kb` says and return what its status has to say."""
    held = deletion.held(kb)
    if held != (names.FINALIZER in kb.metadata.finalizers):
        await world.cluster.apply(hold(kb, held=held))
        raise Outdated(f"KnowledgeBase {kb.name} was changed by us; it is looked at again as it is now")
    servers = await external.servers(kb, world.outside)
    observed = await _observe(kb, servers, world)
    planned = policy.plan(kb, observed)
    # topics first: a consumer would make them with the broker's own number of partitions
    seen = await external.perform(kb, observed.external, servers, planned.of_broker, planned.of_store, world)
    applied = await _apply(kb, observed, planned, world)
    after = replace(
        observed,
        children=applied.children,
        external=seen,
        asked=await external.asked(observed.pods, world.outside, Role.WORKER),
        written=applied.written,
        paused=applied.paused,
    )
    status = policy.report(kb, after, planned, refusals=applied.refusals, now=world.timestamp())
    again = policy.again_after(kb, after, planned, every=world.outside.look_again_after())
    fed = [each for each in await world.cluster.naming(kb.namespace, kb.name) if each["kind"] == "IngestionSource"]
    concerns = documents.changed(kb.status, status, [each["metadata"]["name"] for each in fed])
    return Outcome(status, refused=bool(applied.refusals), again_after=again, concerns=concerns)


async def observe_children(
    kb: KnowledgeBase, world: World
) -> tuple[dict[Key, Manifest], Fact[bool], Fact[bool], Fact[bool]]:
    """Return all children and pods, and whether KEDA, Strimzi and Prometheus are there."""
    found = await children.listed(kb, world, *KINDS, "Pod")
    scalers, keda = await children.listed_if_served(kb, world, *SCALER_KINDS)
    topics, strimzi = await children.listed_if_served(kb, world, "KafkaTopic")
    monitors, monitoring = await children.listed_if_served(kb, world, "ServiceMonitor")
    return {**found, **scalers, **topics, **monitors}, keda, strimzi, monitoring


async def _observe(kb: KnowledgeBase, servers: Servers, world: World) -> policy.Observed:
    found, keda, strimzi, monitoring = await observe_children(kb, world)
    pods = tuple(child for (kind, _), child in found.items() if kind == "Pod")
    return policy.Observed(
        children={name: child for name, child in found.items() if name[0] != "Pod"},
        pods=pods,
        keda=keda,
        strimzi=strimzi,
        monitoring=monitoring,
        external=await external.observe(kb, pods, servers, world.outside),
        endpoints=tuple(
            each for each in await world.cluster.naming(kb.namespace, kb.name) if each["kind"] == "RagEndpoint"
        ),
    )


async def _apply(kb: KnowledgeBase, observed: policy.Observed, planned: policy.Plan, world: World) -> children.Applied:
    if planned.blocked is not None:
        return children.Applied(observed.children)
    kafka_topics = {name: each for (kind, name), each in observed.children.items() if kind == topics.KIND}
    wanted = desired.manifests(
        kb,
        generation=planned.generation,
        replicas=planned.replicas,
        scaled=planned.scaled,
        monitored=planned.monitored,
        topics=kafka_topics if planned.topics else None,
        images=world.images,
    )
    if not topics.by_strimzi(kb) and topics.held_by_strimzi(kafka_topics):
        wanted += cut_loose(kb, kafka_topics)  # they are pruned by the next pass, and their topics stay
    keep = set(children.settings_in_use(wanted, observed.children, observed.pods))
    keep |= {name for name in observed.children if name[0] in planned.keep}
    steps = changes.changes(wanted, observed.children, uid=kb.metadata.uid, keep=keep)
    return await children.write(steps, observed.children, kb.metadata.uid, world)
