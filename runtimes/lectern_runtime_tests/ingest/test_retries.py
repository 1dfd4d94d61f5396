"""Asking a source again: how often, how long between, and what is not asked again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from lectern_runtime.ingest.connector import SourceUnavailable
from lectern_runtime.ingest.retries import LONGEST_ASKED_SECONDS, Retries, TryAgain, retry_after

NOW = 1_000_000_000.0  # Sun, 09 Sep 2001 01:46:40 GMT


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
        return Retries(attempts=attempts, sleep=self.sleep, chance=random.Random(1))


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


def test_delays_stay_below_their_longest_however_often_is_asked() -> None:
    assert max(Retries(chance=random.Random(1)).delay(1000, None) for _ in range(100)) <= Retries().longest_seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Sun, 09 Sep 2001 01:47:40 GMT", 60.0),
        ("Sun, 09 Sep 2001 01:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 40, None),
        ("Sun, 99 Sep 2001 01:47:40 GMT", None),
    ],
)
def test_what_a_retry_after_header_asks_for(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=NOW) == seconds
