"""One pass over an IngestionSource: observe, decide, apply, report."""

from __future__ import annotations

from dataclasses import replace

from lectern_contract.errors import ConfigurationError
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_operator.desired import connector as desired
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import changes
from lectern_operator.policies import ingestion_source as policy
from lectern_operator.reconcilers import children
from lectern_operator.reconcilers.world import Outcome, World

KINDS = ("ConfigMap", "CronJob", "Job")


async def reconcile(source: IngestionSource, world: World) -> Outcome:
    """Bring the cluster to what `source` says and return what its status has to say."""
    observed = await _observe(source, world)
    planned = policy.plan(source, observed, _settings(source, observed))
    applied = await _apply(source, observed, planned, world)
    jobs = tuple(child for (kind, _), child in applied.children.items() if kind == "Job")
    after = replace(observed, children=applied.children, jobs=jobs)
    status = policy.report(source, after, planned, refusals=applied.refusals, now=world.timestamp())
    return Outcome(status, refused=bool(applied.refusals))


async def _observe(source: IngestionSource, world: World) -> policy.Observed:
    found = await children.listed(source, world, *KINDS, "Pod")
    kb = await children.knowledge_base(source.spec.knowledge_base_ref, source.namespace, world)
    return policy.Observed(
        children={name: child for name, child in found.items() if name[0] != "Pod"},
        pods=tuple(child for (kind, _), child in found.items() if kind == "Pod"),
        jobs=tuple(child for (kind, _), child in found.items() if kind == "Job"),
        knowledge_base=kb,
    )


def _settings(source: IngestionSource, observed: policy.Observed) -> Fact[str]:
    """Return the hash of the settings that a run would have, or why there can be none."""
    match observed.knowledge_base:
        case Unknown():
            return observed.knowledge_base
        case Known(value=KnowledgeBase() as kb):
            try:
                return Known(desired.settings_digest(source, kb))
            except ConfigurationError as error:
                return Unknown(str(error))
        case Known():
            return Unknown("there is no knowledge base")


async def _apply(
    source: IngestionSource, observed: policy.Observed, planned: policy.Plan, world: World
) -> children.Applied:
    kb = observed.knowledge_base.value if isinstance(observed.knowledge_base, Known) else None
    if planned.blocked is not None or kb is None:
        return children.Applied(observed.children)
    wanted = desired.manifests(source, kb, run=planned.run, request=planned.request, images=world.images)
    keep = changes.settings_in_use(observed.children, observed.pods) | planned.keep
    steps = changes.changes(wanted, observed.children, uid=source.metadata.uid, keep=keep)
    return await children.write(steps, observed.children, source.metadata.uid, world)
