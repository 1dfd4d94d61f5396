"""Measures the stages of one request: `timings`, the `Server-Timing` header, a histogram, and spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lectern_runtime.telemetry import tracing
from lectern_runtime.telemetry.tracing import Span


class Stopwatch:
    """Milliseconds by stage since it was made. A stage entered twice is summed; stages in parallel overlap."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[Span]:
        """Time what happens inside under `name`, also when it fails, and record it as a span."""
        began = self._clock()
        try:
            with tracing.span(name) as span:
                yield span
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + (self._clock() - began) * 1000

    def elapsed(self) -> float:
        """Milliseconds so far."""
        return (self._clock() - self._began) * 1000

    def stages(self) -> dict[str, float]:
        """Milliseconds of each stage that was entered."""
        return dict(self._stages)

    def timings(self) -> dict[str, float]:
        """Milliseconds of each stage and in total, to the hundredth."""
        return {name: round(value, 2) for name, value in (*self._stages.items(), ("total", self.elapsed()))}


def server_timing(timings: dict[str, float]) -> str:
    """The value of a `Server-Timing` header."""
    return ", ".join(f"{name};dur={value:.2f}" for name, value in timings.items())
