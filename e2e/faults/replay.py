"""Repeats one point of a matrix from its line, and says how it ended."""

from __future__ import annotations

import re
from collections.abc import Mapping

from e2e.faults import api_faults, crashes, matrix, mutated, mutations, stale, unobserved
from e2e.faults.arena import Arena, arena
from e2e.faults.rules import BadRule, EventKey, Kill
from e2e.faults.scenarios import BY_NAME, PLURALS, trio
from e2e.faults.trials import Bench, Outcome

FIELD = re.compile(r"(\w+)=(\S+)")
HOLD_SECONDS = 10.0
SCALE = 0.05


def replay(line: str) -> int:
    """Repeat the point and return 0 when it ends as it should; raises BadRule for a line that is none."""
    name, _, _ = line.partition(" ")
    fields = dict(FIELD.findall(line))
    with arena() as started, matrix.benches(started) as benches:
        if "mutation" in fields:
            return _mutation(started, fields)
        if name in BY_NAME:
            outcome = _point(benches, name, fields)
            print("\n    ".join((f"{outcome.replay}: {outcome.seconds:.1f} s", *(outcome.why or ("converged",)))))
            return 0 if outcome.converged else 1
        return _phase(benches[0], name, fields)


def _point(benches: list[Bench], name: str, fields: Mapping[str, str]) -> Outcome:
    wanted = matrix.references(benches[0], [BY_NAME[name]])
    if "stale" in fields:
        age, _, view = fields["stale"].partition(":")
        seconds = float(fields.get("hold", HOLD_SECONDS))
        tried = [stale.View(BY_NAME[name], age, view)]
        (outcome,) = stale.run(benches[:1], wanted, tried, known=1, hold_seconds=seconds).outcomes
        return outcome
    if "kill" in fields:
        point = crashes.point(name, Kill.parse(fields["kill"]))
    elif "drop" in fields:
        point = unobserved.point(name, EventKey.parse(fields["drop"]))
    else:
        raise BadRule(f"{fields} names no fault; give kill=, drop= or stale=")
    (outcome,) = matrix.run("replay", benches[:1], [point], wanted, known=1).outcomes
    return outcome


def _phase(bench: Bench, name: str, fields: Mapping[str, str]) -> int:
    seed, scale = int(fields.get("seed", "1")), float(fields.get("scale", SCALE))
    tried = [each for each in api_faults.phases(seed, scale=scale) if each.name == name]
    if not tried:
        raise BadRule(f"{name!r} is neither a scenario ({', '.join(BY_NAME)}) nor a phase of API faults")
    (found,) = api_faults.run(bench, bench.arena.prepared(4, "replay"), tried, seed=seed)
    print("\n    ".join((found.said(), *found.hurries, *found.unready)))
    return 0 if found.is_well else 1


def _mutation(started: Arena, fields: Mapping[str, str]) -> int:
    kind, number = mutations.parsed(fields["mutation"])
    if kind not in PLURALS:
        raise BadRule(f"{kind!r} is no kind; there are {', '.join(PLURALS)}")
    (base,) = [each["spec"] for each in trio(started.world) if each["kind"] == kind]
    drawn = mutations.mutations(kind, base, count=number + 1, seed=int(fields.get("seed", "1")))
    (verdict,) = mutated.run(started, drawn[number:], lanes=1)
    print(f"{verdict.mutation}: spec {verdict.mutation.spec}")
    print("\n    ".join((f"refused: {verdict.refused}" if verdict.refused else "taken", *(verdict.wrong or ("well",)))))
    return 1 if verdict.wrong else 0
