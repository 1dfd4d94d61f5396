"""Repeats one trial from the line that a report names, and says how it ended."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench.report import Goal
from e2e.ingest_faults import late, lossless, permuted, rebalanced, replayed, restored, slowed
from e2e.ingest_faults.world import World, world
from e2e.testbed.errors import ComponentError

FIELD = re.compile(r"(\w+)=(\S+)")


def replay(line: str) -> int:
    """Repeat the trial and return 0 when it ends as it should; raises ComponentError for a line that is none."""
    name, _, _ = line.partition(" ")
    fields = dict(FIELD.findall(line))
    with world() as started:
        goals = _goals(started, name, fields)
    for each in goals:
        print(f"{'met' if each.met else 'NOT MET'}: {each.figure}: {each.value} ({each.bound}); {each.reason}")
    return 0 if all(each.met for each in goals) else 1


def _goals(started: World, name: str, fields: Mapping[str, str]) -> list[Goal]:
    seed = int(fields.get("seed", "1"))
    match name:
        case "B1":
            versions, kills = int(fields.get("versions", "1000")), int(fields.get("kills", "10"))
            return lossless.goals(lossless.run(started, seed=seed, versions=versions, kills=kills, say=print))
        case "B2":
            return replayed.goals(replayed.run(started, seed=seed, versions=int(fields.get("versions", "600"))))
        case "B3":
            return [permuted.goal(permuted.run(started))]
        case "B5":
            moves = int(fields.get("moves", "4"))
            return rebalanced.goals(rebalanced.run(started, seed=seed, moves=moves, seconds=15.0, say=print))
        case "B7":
            messages = int(fields.get("messages", "300"))
            return restored.goals(restored.run(started, seed=seed, messages=messages, say=print))
        case "B8":
            return slowed.goals(slowed.run(started, seed=seed, seconds=40.0, say=print))
        case "late":
            fates = {each: each for each in late.FATES}
            newers = {each: each for each in late.NEWERS}
            if fields.get("fate") in fates and fields.get("newer") in newers:
                return [late.goal([late.run(started, fates[fields["fate"]], newers[fields["newer"]])])]  # type: ignore[index]
    raise ComponentError(f"{name} {dict(fields)} names no trial; take the line from a report")
