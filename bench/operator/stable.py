"""A6: after the last change a hundred resources come to rest, and then nothing is written for minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.report import Aim, Goal
from e2e.faults.arena import POLL_SECONDS, Arena, is_settled, quiet
from e2e.faults.process import Operator, ended_with_block
from e2e.faults.proxy import fault_proxy
from e2e.faults.record import Write
from e2e.faults.trials import CALM_MOST_SECONDS

NAMESPACES = 34
"""Three resources each, two more than a hundred."""
STABLE = Aim("A6", "last change to the last write, 100 resources", "<=", 10, "s")
WRITES = Aim("A6", "writes after that", "<=", 0)
AIMS = (STABLE, WRITES)
MOST_SECONDS = 120.0


@dataclass(frozen=True)
class Rest:
    """Seconds from the last change to the last write before the long silence, and what was written in it."""

    seconds: float
    silence: float
    written: tuple[str, ...]
    settled: int

    def goals(self) -> list[Goal]:
        """Return the goals."""
        wait = f"{self.settled} of {NAMESPACES} namespaces as asked for"
        silence = f"in {self.silence:.0f} s" + (f": {', '.join(self.written[:5])}" if self.written else "")
        return [
            STABLE.measured(self.seconds, n=3 * NAMESPACES, reason=wait),
            WRITES.measured(len(self.written), n=3 * NAMESPACES, reason=silence),
        ]


def measure(arena: Arena, *, silence: float) -> Rest:
    """Change every resource of 34 namespaces and watch every write that follows, for `silence` seconds after."""
    namespaces = arena.prepared(NAMESPACES, "stable")
    with fault_proxy(arena.plane.rest) as proxy:
        operator = Operator(proxy.kubeconfig(arena.directory), arena.directory)
        with ended_with_block(operator):
            operator.start()
            operator.await_healthy()
            quiet(arena.mirror, namespaces, CALM_MOST_SECONDS)
            for number, name in enumerate(namespaces):
                user = arena.user(name)
                user.merge("KnowledgeBase", "docs", {"spec": {"parsing": {"timeoutSeconds": 100 + number}}})
                user.merge("IngestionSource", "guides", {"spec": {"include": [f"**/{number}.md"]}})
                user.merge("RagEndpoint", "ask", {"spec": {"retrieval": {"topK": 3 + number}}})
            changed = time.monotonic()
            deadline = changed + MOST_SECONDS
            while not all(is_settled(arena.mirror, name) for name in namespaces) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            quiet(arena.mirror, namespaces, CALM_MOST_SECONDS)
            seconds = max(0.0, proxy.record.last_write - changed)
            before = len(proxy.record.writes)
            began = datetime.now(UTC)
            time.sleep(silence)
            unrest = proxy.record.writes[before:]
            written = tuple(f"{each.key} {each.target.namespace}{_turned(arena, each, began)}" for each in unrest)
            operator.stop()
    return Rest(seconds, silence, written, sum(is_settled(arena.mirror, name) for name in namespaces))


def _turned(arena: Arena, write: Write, began: datetime) -> str:
    """Return which conditions of what was written have turned since `began`: what the silence was broken for."""
    live = arena.mirror.live(write.target.namespace)
    place = (write.target.plural, write.target.name)
    body = next((each.body for each in live if (each.plural, each.body["metadata"]["name"]) == place), {})
    turned = [
        f"{each['type']}={each['status']} {each['reason']}"
        for each in body.get("status", {}).get("conditions", ())
        if datetime.fromisoformat(each["lastTransitionTime"]) >= began.replace(microsecond=0)
    ]
    return f" ({', '.join(turned)})" if turned else ""
