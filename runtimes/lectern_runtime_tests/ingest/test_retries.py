"""Asking a source again: how often, how long between, and what is not asked again."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lectern_runtime.ingest.connector import SourceUnavailable
from lectern_runtime.ingest.retries import LONGEST_ASKED_SECONDS, Retries, TryAgain


@dataclass
class Source:
    """Fails with each of `errors` in turn, then answers."""

    errors: list[Exception]
    calls: int = 0
    slept: list[float] = field(default_factory=list)

    async def ask(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def retries(self, attempts: int = 4) -> Retries:
        return Retries(attempts=attempts, sleep=self.sleep)


async def test_passing_faults_are_asked_again_with_growing_ceilings() -> None:
    source = Source([TryAgain("busy")] * 3)
    assert await source.retries().call(source.ask) == "answer"
    assert len(source.slept) == 3
    assert all(0 <= slept <= ceiling for slept, ceiling in zip(source.slept, (0.5, 1.0, 2.0), strict=True))


async def test_the_last_attempt_ends_with_the_fault_itself() -> None:
    source = Source([TryAgain("busy")] * 9)
    with pytest.raises(SourceUnavailable, match="busy"):
        await source.retries(attempts=3).call(source.ask)
    assert (source.calls, len(source.slept)) == (3, 2)


@pytest.mark.parametrize("error", [SourceUnavailable("refused"), ValueError("defect")])
async def test_other_faults_are_not_asked_again(error: Exception) -> None:
    source = Source([error])
    with pytest.raises(type(error)):
        await source.retries().call(source.ask)
    assert source.calls == 1


async def test_a_pause_that_is_asked_for_is_kept_and_too_long_a_one_ends_the_call() -> None:
    source = Source([TryAgain("busy", retry_after_seconds=7.0)])
    await source.retries().call(source.ask)
    assert 7.0 <= source.slept[0] <= 7.5
    patient = Source([TryAgain("busy", retry_after_seconds=LONGEST_ASKED_SECONDS + 1)])
    with pytest.raises(TryAgain):
        await patient.retries().call(patient.ask)
    assert (patient.calls, patient.slept) == (1, [])
