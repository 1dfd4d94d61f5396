"""The border between the queue and the reconcilers: one pass, its errors, its one status write, its one log line.

Errors of a pass are translated here and nowhere else: a spec that is not valid becomes a condition, what the world
failed at becomes another pass.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from lectern_contract import names, resources
from lectern_contract.errors import DependencyError, ResourceInvalid
from lectern_contract.resources import IngestionSource, KnowledgeBase, RagEndpoint
from lectern_contract.resources.status import (
    Condition,
    IngestionSourceStatus,
    KnowledgeBaseStatus,
    RagEndpointStatus,
    readable,
)
from lectern_operator.clients.errors import NotFound, Outdated
from lectern_operator.handlers.inventory import Inventory
from lectern_operator.handlers.lease import LeaseLost
from lectern_operator.handlers.queue import Retry
from lectern_operator.handlers.telemetry import Telemetry
from lectern_operator.policies import summary
from lectern_operator.reconcilers import guarded, ingestion_source, knowledge_base, rag_endpoint, release
from lectern_operator.reconcilers.world import Manifest, Outcome, World

PASS_SECONDS = 60.0
Tell = Callable[[Manifest, tuple[Condition, ...], tuple[Condition, ...]], Awaitable[int]]
"""Told of the conditions before and after each status write, says how many Events it made: `Events.tell`."""
Poke = Callable[[str], None]
"""Asks for a pass over the resource with this UID: `View.poke`."""
logger = logging.getLogger("lectern.operator")


class Boundary:
    """Carries out passes over what is in the inventory."""

    def __init__(self, inventory: Inventory, world: World, telemetry: Telemetry, tell: Tell, poke: Poke) -> None:
        self._poke = poke
        self._inventory = inventory
        self._world = world
        self._telemetry = telemetry
        self._tell = tell

    async def pass_over(self, uid: str) -> float | None:
        """Look at `uid` once; return after how many seconds to look again anyway, or raise `Retry`."""
        body = self._inventory.get(uid)
        if body is None or ("deletionTimestamp" in body["metadata"] and not _is_held(body)):
            return None  # its children go with it: they have an owner reference
        kind, name = body["kind"], f"{body['metadata']['namespace']}/{body['metadata']['name']}"
        started, result = time.monotonic(), "failed"
        try:
            async with asyncio.timeout(PASS_SECONDS):
                outcome = await self._judged(body)
                if outcome is None:
                    result = "released"
                    return None
                written = await self._report(body, outcome)
            result = "refused" if outcome.refused else "done"
            logger.info("pass", extra={"kind": kind, "object": name, "result": result, "status_written": written})
            if outcome.refused:
                raise Retry
            return outcome.again_after
        except (Outdated, NotFound) as error:
            result = "outdated"
            logger.info("pass", extra={"kind": kind, "object": name, "result": result, "cause": str(error)})
            raise Retry from error
        except (DependencyError, TimeoutError) as error:
            logger.warning("pass", extra={"kind": kind, "object": name, "result": result, "cause": str(error)})
            raise Retry(getattr(error, "retry_after_seconds", None)) from error
        except (Retry, LeaseLost):
            raise
        except Exception as error:
            logger.exception("pass", extra={"kind": kind, "object": name, "result": result})
            await self._tell_defect(body, error)
            raise Retry from error
        finally:
            self._telemetry.passes.labels(kind=kind, result=result).inc()
            self._telemetry.seconds.labels(kind=kind).observe(time.monotonic() - started)

    async def _tell_defect(self, body: Manifest, error: Exception) -> None:
        """Say in the status that passes fail, by the kind of `error` alone: its words may hold what is secret."""
        try:
            await self._report(body, broken(body, type(error).__name__, self._world.timestamp()))
        except LeaseLost:
            raise
        except Exception:
            logger.exception("status", extra={"kind": body["kind"], "object": body["metadata"]["name"]})

    async def _judged(self, body: Manifest) -> Outcome | None:
        try:
            resource = resources.parse_stored(body)
        except ResourceInvalid as fault:
            return invalid(body, fault, self._world.timestamp())
        world = guarded.within(self._world, body)
        match resource:
            case KnowledgeBase() if resource.metadata.deletion_timestamp is not None:
                return await release.release(resource, world)
            case KnowledgeBase():
                return await knowledge_base.reconcile(resource, world)
            case IngestionSource():
                return await ingestion_source.reconcile(resource, world)
            case RagEndpoint():
                return await rag_endpoint.reconcile(resource, world)

    async def _report(self, body: Manifest, outcome: Outcome) -> bool:
        """Write the status where it says something else than before; say whether it was written."""
        status = outcome.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        if status == body.get("status"):
            return False
        self._inventory.wrote(await self._world.cluster.write_status(body, status))
        for name in outcome.concerns:
            source = self._inventory.find(IngestionSource.kind_name, body["metadata"]["namespace"], name)
            if source is not None:
                self._poke(source["metadata"]["uid"])
        self._telemetry.events.inc(await self._tell(body, _conditions(body), outcome.status.conditions))
        return True


def _conditions(body: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Return the conditions in the status of `body` that can be read."""
    found = []
    for each in (body.get("status") or {}).get("conditions") or ():
        with suppress(ValueError):
            found.append(Condition.model_validate(each))
    return tuple(found)


def _is_held(body: Mapping[str, Any]) -> bool:
    return names.FINALIZER in (body["metadata"].get("finalizers") or ())


def invalid(body: Mapping[str, Any], fault: ResourceInvalid, now: str) -> Outcome:
    """Return what the status says of a spec that breaks a rule; the rest of the status stays as it is."""
    before, generation = _status(body), int(body["metadata"].get("generation", 0))
    found = summary.invalid(body["kind"], before.conditions, fault)
    conditions = tuple(summary.carried(before.conditions, found, generation=generation, now=now))
    return Outcome(before.model_copy(update={"observed_generation": generation, "conditions": conditions}))


def broken(body: Mapping[str, Any], cause: str, now: str) -> Outcome:
    """Return what the status says where a pass fails by a defect of ours; the rest of it stays as it is."""
    before, generation = _status(body), int(body["metadata"].get("generation", 0))
    found = summary.broken(body["kind"], before.conditions, cause)
    conditions = tuple(summary.carried(before.conditions, found, generation=generation, now=now))
    return Outcome(before.model_copy(update={"conditions": conditions}))


def _status(body: Mapping[str, Any]) -> KnowledgeBaseStatus | IngestionSourceStatus | RagEndpointStatus:
    """Return the status of `body` as far as it can be read."""
    model = type(resources.KINDS[body["kind"]].model_fields["status"].get_default(call_default_factory=True))
    found = readable(model, body.get("status") or {})
    assert isinstance(found, KnowledgeBaseStatus | IngestionSourceStatus | RagEndpointStatus)
    return found
