"""One pass over a KnowledgeBase: observe, decide, apply, report."""

from __future__ import annotations

from dataclasses import replace

from lectern_contract.resources import KnowledgeBase
from lectern_operator.desired import knowledge_base as desired
from lectern_operator.policies import changes
from lectern_operator.policies import knowledge_base as policy
from lectern_operator.reconcilers import children
from lectern_operator.reconcilers.world import Outcome, World

KINDS = ("ConfigMap", "PersistentVolumeClaim", "Service", "Deployment")
SCALER_KINDS = ("TriggerAuthentication", "ScaledObject")


async def reconcile(kb: KnowledgeBase, world: World) -> Outcome:
    """Bring the cluster to what `kb` says and return what its status has to say."""
    observed = await _observe(kb, world)
    planned = policy.plan(kb, observed)
    applied = await _apply(kb, observed, planned, world)
    after = replace(observed, children=applied.children, written=applied.written)
    status = policy.report(kb, after, planned, refusals=applied.refusals, now=world.timestamp())
    return Outcome(status, refused=bool(applied.refusals), again_after=policy.again_after(kb, observed))


async def _observe(kb: KnowledgeBase, world: World) -> policy.Observed:
    found = await children.listed(kb, world, *KINDS, "Pod")
    scalers, keda = await children.listed_if_served(kb, world, *SCALER_KINDS)
    pods = tuple(child for (kind, _), child in found.items() if kind == "Pod")
    owned = {name: child for name, child in found.items() if name[0] != "Pod"}
    return policy.Observed(children={**owned, **scalers}, pods=pods, keda=keda)


async def _apply(kb: KnowledgeBase, observed: policy.Observed, planned: policy.Plan, world: World) -> children.Applied:
    if planned.blocked is not None:
        return children.Applied(observed.children)
    wanted = desired.manifests(
        kb, generation=planned.generation, replicas=planned.replicas, scaled=planned.scaled, images=world.images
    )
    keep = set(changes.settings_in_use(observed.children, observed.pods))
    if planned.keep_scaler:
        keep |= {name for name in observed.children if name[0] in SCALER_KINDS}
    steps = changes.changes(wanted, observed.children, uid=kb.metadata.uid, keep=keep)
    return await children.write(steps, observed.children, kb.metadata.uid, world)
