"""The target `bench-operator`: A6 and A7 of the operator with their bounds. QUICK=1 takes fewer of everything."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from bench import report
from bench.operator import scale, stable
from bench.operator.site import site
from bench.report import Goal
from e2e.faults.arena import NotSettled, arena
from e2e.faults.process import NotHealthy

TARGET = "bench-operator"
NAMESPACES = 10
PACKAGES = ("aiohttp", "kopf", "kubernetes", "prometheus-client", "pydantic")


def options(arguments: Sequence[str], *, quick: bool) -> argparse.Namespace:
    """Return which goals are wanted and how many of what; ends the program where that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m bench.operator", description=__doc__)
    add = parser.add_argument
    add("goals", nargs="*", metavar="GOAL", help="A6 or A7; both by default")
    add("--silence", type=float, default=60.0 if quick else 600.0, help="seconds of A6 in which nothing is written")
    add("--count", type=int, default=300 if quick else 2000, help="resources of A7")
    add("--cycles", type=int, default=500 if quick else 20_000, help="resources of A7 that come and go")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.goals) - {"A6", "A7"}:
        parser.error(f"{', '.join(sorted(unknown))}: there are A6 and A7")
    chosen.goals = set(chosen.goals) or {"A6", "A7"}
    return chosen


def main(arguments: Sequence[str]) -> int:
    """Measure what is asked for and report; return 0 when every goal is met."""
    quick = report.is_quick(os.environ)
    chosen = options(arguments, quick=quick)
    machine = report.machine(PACKAGES)
    found, figures = list[Goal](), dict[str, object]()
    if "A6" in chosen.goals:
        found += _rest(chosen.silence)
    if "A7" in chosen.goals:
        goals, figures = _scale(chosen.count, chosen.cycles)
        found += goals
    return report.finish(
        report.Report(target=TARGET, goals=tuple(found), machine=machine, quick=quick, figures=figures)
    )


def _rest(silence: float) -> list[Goal]:
    try:
        with arena(keep_history=False) as started:
            return stable.measure(started, silence=silence).goals()
    except (NotSettled, NotHealthy) as error:
        return [aim.unmeasured(str(error)) for aim in stable.AIMS]


def _scale(count: int, cycles: int) -> tuple[list[Goal], dict[str, object]]:
    try:
        with site(NAMESPACES) as place:
            measured = scale.measure(place, count=count, cycles=cycles)
    except (NotSettled, NotHealthy) as error:
        return scale.unmeasured(count, str(error)), {}
    return measured.goals(), measured.figures()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
