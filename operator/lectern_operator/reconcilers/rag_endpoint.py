"""One pass over a RagEndpoint: observe, decide, apply, report."""

from __future__ import annotations

from dataclasses import replace

from lectern_contract.resources import RagEndpoint
from lectern_operator.desired import query as desired
from lectern_operator.policies import changes
from lectern_operator.policies import rag_endpoint as policy
from lectern_operator.reconcilers import children
from lectern_operator.reconcilers.world import Outcome, World

KINDS = ("ConfigMap", "Service", "Deployment")


async def reconcile(endpoint: RagEndpoint, world: World) -> Outcome:
    """Bring the cluster to what `endpoint` says and return what its status has to say."""
    observed = await _observe(endpoint, world)
    planned = policy.plan(endpoint, observed)
    applied = await _apply(endpoint, observed, planned, world)
    after = replace(observed, children=applied.children, written=applied.written)
    status = policy.report(endpoint, after, planned, refusals=applied.refusals, now=world.timestamp())
    return Outcome(status, refused=bool(applied.refusals))


async def _observe(endpoint: RagEndpoint, world: World) -> policy.Observed:
    refs = endpoint.spec.knowledge_base_refs
    found = await children.listed(endpoint, world, *KINDS, "Pod")
    facts = await children.together(*(children.knowledge_base(name, endpoint.namespace, world) for name in refs))
    return policy.Observed(
        children={name: child for name, child in found.items() if name[0] != "Pod"},
        pods=tuple(child for (kind, _), child in found.items() if kind == "Pod"),
        knowledge_bases=dict(zip(refs, facts, strict=True)),
    )


async def _apply(
    endpoint: RagEndpoint, observed: policy.Observed, planned: policy.Plan, world: World
) -> children.Applied:
    if planned.blocked is not None:
        return children.Applied(observed.children)
    wanted = desired.manifests(endpoint, planned.knowledge_bases, replicas=planned.replicas, images=world.images)
    keep = changes.settings_in_use(observed.children, observed.pods)
    steps = changes.changes(wanted, observed.children, uid=endpoint.metadata.uid, keep=keep)
    return await children.write(steps, observed.children, endpoint.metadata.uid, world)
