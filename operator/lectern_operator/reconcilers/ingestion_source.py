"""One pass over an IngestionSource: observe, decide, apply, report."""

from __future__ import annotations

from dataclasses import replace

from lectern_contract import names, pending
from lectern_contract.conditions import Verdict
from lectern_contract.errors import ConfigurationError
from lectern_contract.names import Role
from lectern_contract.references import references
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.clients.errors import NotFound
from lectern_operator.desired import connector, receiver
from lectern_operator.desired.connector import AskedRun
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import changes, config_applied, runs
from lectern_operator.policies import ingestion_source as policy
from lectern_operator.policies import references as references_policy
from lectern_operator.policies.changes import Changes
from lectern_operator.reconcilers import children, external
from lectern_operator.reconcilers import references as reading
from lectern_operator.reconcilers.children import Applied
from lectern_operator.reconcilers.outside import RETRY_SECONDS
from lectern_operator.reconcilers.world import Manifest, Outcome, World

KINDS = ("ServiceAccount", "NetworkPolicy", "ConfigMap", "Service", "Deployment", "CronJob", "Job")


async def reconcile(source: IngestionSource, world: World) -> Outcome:
    """Bring the cluster to what `source` says and return what its status has to say."""
    observed = await _observe(source, world)
    planned = policy.plan(source, observed, _settings(source, observed), now=world.timestamp())
    applied = await _apply(source, observed, planned, world)
    jobs = tuple(child for (kind, _), child in applied.children.items() if kind == "Job")
    after = replace(observed, children=applied.children, jobs=jobs, written=applied.written, paused=applied.paused)
    further = await _further(source, after, planned, world)
    status = policy.report(source, after, planned, refusals=applied.refusals, now=world.timestamp(), further=further)
    again = RETRY_SECONDS if any(each.status != "True" for each in further) else None
    return Outcome(status, refused=bool(applied.refusals), again_after=again)


async def _further(
    source: IngestionSource, observed: policy.Observed, planned: policy.Plan, world: World
) -> tuple[Verdict, ...]:
    """Judge what the source names and its pods mount, and what the receiver has loaded."""
    kb = observed.knowledge_base.value if isinstance(observed.knowledge_base, Known) else None
    known = {} if kb is None else {kb.name: kb}
    named = tuple(each for each in references(source, known) if not pending.covers(source.kind_name, each.field))
    found = references_policy.verdict(named, await reading.read(named, world.outside.contents))
    if source.spec.push is None:
        each_its_own = "every run reads the settings that its Job was made with"
        return found, Verdict(ConditionType.CONFIG_APPLIED, "True", Reason.NOT_NEEDED, each_its_own)
    if planned.blocked is not None:
        held = "the receiver is left as it is while the source cannot be used"
        return found, Verdict(ConditionType.CONFIG_APPLIED, "Unknown", Reason.WAITING, held)
    asked = await external.asked(observed.pods, world.outside, Role.RECEIVER)
    wanted = {Role.RECEIVER.value: planned.settings_hash}
    return found, config_applied.verdict(wanted, asked, observed.pods)


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
    """Return the hash of the settings that a run or the receiver would have, or why there can be none."""
    match observed.knowledge_base:
        case Unknown():
            return observed.knowledge_base
        case Known(value=KnowledgeBase() as kb):
            made = connector if source.spec.push is None else receiver
            try:
                return Known(made.settings_digest(source, kb))
            except ConfigurationError as error:
                return Unknown(str(error))
        case Known():
            return Unknown("there is no knowledge base")


async def _apply(source: IngestionSource, observed: policy.Observed, planned: policy.Plan, world: World) -> Applied:
    kb = observed.knowledge_base.value if isinstance(observed.knowledge_base, Known) else None
    if planned.blocked is not None or kb is None:
        return Applied(observed.children)
    wanted = _wanted(source, kb, planned, world)
    keep = children.settings_in_use(wanted, observed.children, observed.pods) | planned.keep
    steps = changes.changes(wanted, observed.children, uid=source.metadata.uid, keep=keep)
    rest = tuple(each for each in steps.apply if each["kind"] != "Job")
    first = await children.write(replace(steps, apply=rest), observed.children, source.metadata.uid, world)
    runs_now = tuple(each for each in steps.apply if each["kind"] == "Job")
    if not runs_now or first.refusals or not await _schedule_stands_still(source, first, world):
        return first
    then = await children.write(Changes(apply=runs_now), first.children, source.metadata.uid, world)
    return replace(then, written=first.written | then.written, paused=first.paused | then.paused)


def _wanted(source: IngestionSource, kb: KnowledgeBase, planned: policy.Plan, world: World) -> list[Manifest]:
    if source.spec.push is not None:
        return receiver.manifests(source, kb, images=world.images)
    run, start = None, planned.start
    if start is not None:
        run = AskedRun(start.digest, start.mode, {runs.NOTES[mode]: value for mode, value in start.answers.items()})
    return connector.manifests(source, kb, run=run, held=planned.held, images=world.images)


async def _schedule_stands_still(source: IngestionSource, applied: Applied, world: World) -> bool:
    """Say whether the CronJob, as it is now, is suspended and has no run of its own.

    What it has started since it was observed would run beside the one that was asked for. The end of that Job makes
    the next pass.
    """
    name = names.child(source.name, Role.CONNECTOR)
    if ("CronJob", name) not in applied.children:
        return True
    try:
        live = await world.cluster.get("CronJob", source.namespace, name)
    except NotFound:
        return False
    return bool(live["spec"].get("suspend")) and not live.get("status", {}).get("active")
