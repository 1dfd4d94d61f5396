"""One pass over a RagEndpoint: observe, decide, apply, report."""

from __future__ import annotations

import base64
import secrets
from dataclasses import replace

from lectern_contract import names, pending, query_wiring, settings
from lectern_contract.conditions import Verdict
from lectern_contract.names import Role
from lectern_contract.references import references
from lectern_contract.resources import KnowledgeBase, RagEndpoint
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.clients.errors import NotFound, Refused
from lectern_operator.desired import cache_salt
from lectern_operator.desired import rag_endpoint as desired
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import Denied
from lectern_operator.policies import changes, config_applied
from lectern_operator.policies import rag_endpoint as policy
from lectern_operator.policies import references as references_policy
from lectern_operator.reconcilers import children, external
from lectern_operator.reconcilers import references as reading
from lectern_operator.reconcilers.outside import RETRY_SECONDS
from lectern_operator.reconcilers.world import Outcome, World, soonest

KINDS = (
    "ConfigMap",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Ingress",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "Service",
    "ServiceAccount",
)


async def reconcile(endpoint: RagEndpoint, world: World) -> Outcome:
    """Bring the cluster to what `endpoint` says and return what its status has to say."""
    observed = await _observe(endpoint, world)
    planned = policy.plan(endpoint, observed)
    applied = await _apply(endpoint, observed, planned, world)
    after = replace(observed, children=applied.children, written=applied.written)
    further = await _further(endpoint, after, planned, world)
    status = policy.report(
        endpoint,
        after,
        planned,
        refusals=applied.refusals,
        now=world.timestamp(),
        further=further,
        paused=tuple(sorted(f"{kind} {name}" for kind, name in applied.paused)),
    )
    again = soonest(policy.again_after(endpoint, observed), RETRY_SECONDS if any(map(_awaits, further)) else None)
    return Outcome(status, refused=bool(applied.refusals), again_after=again)


async def _further(
    endpoint: RagEndpoint, observed: policy.Observed, planned: policy.Plan, world: World
) -> tuple[Verdict, ...]:
    """Judge what the endpoint names, and what its pods have loaded."""
    named = tuple(
        each
        for each in references(endpoint, planned.knowledge_bases)
        if not pending.covers(endpoint.kind_name, each.field)
    )
    contents = await reading.read(named, world.outside.contents)
    found = references_policy.verdict(named, contents)
    if planned.blocked is not None:
        held = "the pods are left as they are while a knowledge base cannot be used"
        return found, Verdict(ConditionType.CONFIG_APPLIED, "Unknown", Reason.WAITING, held)
    wanted = settings.config_hash(query_wiring.query_settings(endpoint, planned.knowledge_bases))
    asked = await external.asked(observed.pods, world.outside, Role.QUERY)
    return found, config_applied.verdict({Role.QUERY.value: wanted}, asked, observed.pods)


def _awaits(verdict: Verdict) -> bool:
    return verdict.status != "True"


async def _observe(endpoint: RagEndpoint, world: World) -> policy.Observed:
    refs = endpoint.spec.knowledge_base_refs
    found = await children.listed(endpoint, world, *KINDS, "Pod")
    scalers, keda = await children.listed_if_served(endpoint, world, "ScaledObject")
    routes, gateway = await children.listed_if_served(endpoint, world, "HTTPRoute")
    monitors, monitoring = await children.listed_if_served(endpoint, world, "ServiceMonitor")
    facts = await children.together(*(_knowledge_base(name, endpoint, world) for name in refs))
    owned = {name: child for name, child in found.items() if name[0] != "Pod"}
    return policy.Observed(
        children={**owned, **scalers, **routes, **monitors},
        pods=tuple(child for (kind, _), child in found.items() if kind == "Pod"),
        knowledge_bases=dict(zip(refs, facts, strict=True)),
        keda=keda,
        gateway=gateway,
        monitoring=monitoring,
        salted=await _salted(endpoint, world),
    )


async def _knowledge_base(reference: str, endpoint: RagEndpoint, world: World) -> Fact[KnowledgeBase | None]:
    namespace, name = names.referred(reference, endpoint.namespace)
    try:
        return await children.knowledge_base(name, namespace, world)
    except Refused as error:
        return Denied(f"KnowledgeBase {reference} cannot be read: let the operator watch {namespace} too ({error})")


async def _salted(endpoint: RagEndpoint, world: World) -> Fact[bool]:
    """Say whether the Secret of the cache salt exists; asked for where a model server of ours needs one.

    It is read by its name and never listed: the operator has no right to see the Secrets of a namespace.
    """
    generation = endpoint.spec.generation
    if generation is None or generation.server.managed is None:
        return Known(value=True)
    name = names.child(endpoint.name, Role.GENERATOR)
    try:
        found = await world.cluster.get("Secret", endpoint.namespace, name)
    except NotFound:
        return Known(value=False)
    except Refused as error:
        return Denied(
            f"the operator may not look for Secret {name}, which keeps the prompts of tenants apart: list namespace "
            f"{endpoint.namespace} under rbac.secretNamespaces of the chart ({error})"
        )
    if not changes.owned(found, endpoint.metadata.uid) or cache_salt.KEY not in found.get("data", {}):
        return Unknown(f"Secret {name} exists already and is not ours: delete it, or give the resource another name")
    return Known(value=True)


async def _apply(
    endpoint: RagEndpoint, observed: policy.Observed, planned: policy.Plan, world: World
) -> children.Applied:
    if planned.blocked is not None:
        return children.Applied(observed.children)
    wanted = desired.manifests(
        endpoint,
        planned.knowledge_bases,
        replicas=planned.replicas,
        generators=planned.generators,
        scaled=planned.scaled,
        routed=planned.routed,
        monitored=planned.monitored,
        salt=base64.b64encode(secrets.token_bytes(cache_salt.BYTES)).decode() if planned.salt else None,
        images=world.images,
    )
    keep = children.settings_in_use(wanted, observed.children, observed.pods)
    steps = changes.changes(wanted, observed.children, uid=endpoint.metadata.uid, keep=keep)
    return await children.write(steps, observed.children, endpoint.metadata.uid, world)
