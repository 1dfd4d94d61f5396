"""One row for each check: how long it took, or what was seen instead; one that fails hides no other."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError  # type: ignore[import-untyped]

from bench.report import Aim, Goal
from e2e.node_smoke.cluster import Unmet
from e2e.testbed.errors import ComponentError

Act = Callable[[], object]
FAILURES = (Unmet, ComponentError, KafkaError, subprocess.SubprocessError, OSError)
LONGEST_REASON = 600


@dataclass
class Sheet:
    """The rows so far."""

    goals: list[Goal] = field(default_factory=list)

    def timed(self, goal: str, what: str, seconds: float, act: Act, remark: str = "") -> bool:
        """Do `act`, which waits for what it wants; the row is its duration, at most `seconds`. Say whether it held.

        What `act` returns, where it is text, is the row's remark.
        """
        aim, begun = Aim(goal, what, "<=", seconds, "s"), time.monotonic()
        try:
            told = act()
        except FAILURES as failure:
            return self._add(aim.measured(math.inf, n=1, reason=" ".join(str(failure).split())[:LONGEST_REASON]))
        took = time.monotonic() - begun
        return self._add(aim.measured(took, n=1, reason=told if isinstance(told, str) else remark))

    def counted(self, goal: str, what: str, most: float, act: Callable[[], tuple[float, str]]) -> bool:
        """Do `act`, which returns a number that may be at most `most`, and a remark. Say whether it held."""
        aim = Aim(goal, what, "<=", most)
        try:
            value, remark = act()
        except FAILURES as failure:
            return self._add(aim.measured(math.inf, n=1, reason=" ".join(str(failure).split())[:LONGEST_REASON]))
        return self._add(aim.measured(value, n=1, reason=remark))

    def skipped(self, goal: str, what: str, seconds: float, reason: str) -> None:
        """Add a row for what cannot be measured."""
        self._add(Aim(goal, what, "<=", seconds, "s").unmeasured(reason))

    def _add(self, goal: Goal) -> bool:
        self.goals.append(goal)
        sign = {True: "ok  ", False: "FAIL", None: "n/a "}[goal.met]
        shown = "" if goal.value is None or math.isinf(goal.value) else f"{goal.value:.1f} {goal.unit}"
        print(f"{sign} {goal.goal:<4} {goal.figure:<75} {shown}", flush=True)
        if goal.met is not True:
            print(f"     {goal.reason}", flush=True)
        return goal.met is True
