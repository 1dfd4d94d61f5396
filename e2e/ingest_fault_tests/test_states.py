"""Whatever happens to workers in whatever order, the store ends as the log says: a Hypothesis state machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from e2e.ingest_faults.machine import States

TestStates = States.TestCase
TestStates.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
