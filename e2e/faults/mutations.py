"""A5, first half: changes of a spec, drawn by a seed over the leaves of a kind's schema.

Values come from the strategies that `api_tests` compares models and API server with, most of them valid. What stands
around a leaf that the base spec does not have is filled in; of a union the other members go.
"""

from __future__ import annotations

import copy
import itertools
import random
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.strategies import SearchStrategy

from e2e.api_tests import specs
from lectern_contract import resources
from lectern_operator import crd

T = TypeVar("T")
Schema = Mapping[str, Any]
Step = str | int
DRAWN = 8
ODD_SHARE = 0.1
"""Of the values of a leaf: what may be of another type, or out of bounds."""


@dataclass(frozen=True)
class Mutation:
    """`spec` with the leaf at `path` set to a drawn value; `number` is its place in the sequence of the seed."""

    kind: str
    number: int
    path: str
    spec: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.kind}#{self.number}:{self.path}"


def leaves(kind: str) -> list[tuple[str, ...]]:
    """Return the path of every leaf of a kind's spec; `[]` stands for the items of a list."""
    return list(_leaves(_schema(kind), ()))


def mutations(kind: str, base: Mapping[str, Any], *, count: int, seed: int) -> list[Mutation]:
    """Return `count` mutations of `base`, leaf after leaf in an order drawn by `seed`, the same for the same seed."""
    chance = random.Random(f"{kind}/{seed}")
    paths = leaves(kind)
    chance.shuffle(paths)
    found = []
    for number, path in zip(range(count), itertools.cycle(paths), strict=False):
        odd = chance.random() < ODD_SHARE
        value = chance.choice(specs.ODD_VALUES) if odd else _value(kind, path, seed, number // len(paths))
        spec = _with(_schema(kind), base, path, value, seed)
        found.append(Mutation(kind, number, ".".join(path), spec))
    return found


def covered(tried: list[Mutation]) -> float:
    """Return the share of the leaves of a kind that these mutations set."""
    return len({each.path for each in tried}) / len(leaves(tried[0].kind)) if tried else 0.0


def drawn(strategy: SearchStrategy[T], count: int, seed: int) -> list[T]:
    """Return values of the strategy, the same for the same seed."""
    found: list[T] = []

    @seeded(seed)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: T) -> None:
        found.append(copy.deepcopy(value))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collect()
    return found


def _schema(kind: str) -> Schema:
    found: Schema = crd.root_schema(resources.KINDS[kind])["properties"]["spec"]
    return found


def _leaves(schema: Schema, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if "properties" in schema:
        for name, child in schema["properties"].items():
            yield from _leaves(child, (*path, name))
    elif schema.get("type") == "array" and "properties" in schema["items"]:
        yield from _leaves(schema["items"], (*path, "[]"))
    else:
        yield path


_values: dict[tuple[str, tuple[str, ...], int], list[Any]] = {}


def _value(kind: str, path: tuple[str, ...], seed: int, turn: int) -> Any:
    key = (kind, path, seed)
    if key not in _values:
        _values[key] = drawn(specs.value(_at(_schema(kind), path)), DRAWN, seed)
    return _values[key][(turn + 1) % len(_values[key])]


def _at(schema: Schema, path: tuple[str, ...]) -> Schema:
    for part in path:
        schema = schema["items"] if part == "[]" else schema["properties"][part]
    return schema


def _with(schema: Schema, base: Mapping[str, Any], path: tuple[str, ...], value: Any, seed: int) -> dict[str, Any]:
    """Return a copy of `base` with `value` at `path`; what is missing on the way is drawn."""
    spec = copy.deepcopy(dict(base))
    place: Any = spec
    for index, part in enumerate(path):
        last, step = index == len(path) - 1, 0 if part == "[]" else part
        if isinstance(place, dict):
            for other in _rivals(schema, part):
                place.pop(other, None)
        child = schema["items"] if part == "[]" else schema["properties"][part]
        if last:
            place[step] = value
        elif not _holds(place, step, child):
            _put(place, step, drawn(specs.value(child), 1, seed)[0])
        place, schema = place[step], child
    return spec


def _holds(place: Any, step: Step, child: Schema) -> bool:
    """Say whether there is something to go on in."""
    wanted: type = list if child.get("type") == "array" else dict
    if isinstance(step, int):
        return len(place) > step and isinstance(place[step], wanted)
    return isinstance(place.get(step), wanted) and (wanted is dict or bool(place[step]))


def _put(place: Any, step: Step, value: Any) -> None:
    if isinstance(place, list):
        place[:1] = [value]
    else:
        place[step] = value if value != [] else [{}]


def _rivals(schema: Schema, member: str) -> set[str]:
    """The other members of the union that `member` belongs to."""
    unions = [specs.MEMBER.findall(rule["rule"]) for rule in schema.get("x-kubernetes-validations", ())]
    return {other for union in unions if member in union for other in union if other != member}


def parsed(text: str) -> tuple[str, int]:
    """Read kind and number from what `str` wrote of a mutation."""
    found = re.match(r"^(\w+)#(\d+)", text)
    if found is None:
        raise ValueError(f"{text!r} names no mutation; it looks like KnowledgeBase#17:chunking.size")
    return found[1], int(found[2])
