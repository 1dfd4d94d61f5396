"""Hypothesis strategies that make specs of a kind, right and slightly wrong, out of its structural schema.

`specs(kind)` first draws a spec inside every bound, with one member of each union, then spoils none, one or two
places of it. Whether the result is right is left to the two judges that `test_agreement` compares. Small
examples come first when it shrinks: optional fields vanish, spoiled places heal.

Two things are left out, because there is no answer that both sides could give:
- numbers such as 60.0 for an integer (`test_refused` holds what happens to them);
- lone surrogates, which are not Unicode text: the server replaces them, and pydantic refuses the document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from lectern_contract import resources
from lectern_operator import crd

Schema = Mapping[str, Any]
MEMBER = re.compile(r"has\(self\.(\w+)\) \? 1 : 0")
KEY_PATTERN = re.compile(r"key\.matches\(r'(.+)'\)")
# What differs among regular expressions, JSON readers and counters of characters, if anything does.
ODD_TEXTS = (
    "",
    " ",
    "\n",
    "\r\n",
    "\x00",
    "\x0b",
    "\u0085",
    "\u00a0",
    "\u2028",
    "ß",
    "e\u0301",
    "𝄞",
    "\ufeff",
    "/",
    "..",
)
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 0.5, -1.5, 1e300,
    "", "0", "true", "null", "a", "A", [], [None], [[]], [""], ["a"], {}, {"": ""}, {"a": None}, {"a": "1"},
)  # fmt: skip
_CHARACTERS = st.characters(codec="utf-8")
_SELDOM = st.sampled_from((False, False, False, True))


def specs(kind: str) -> SearchStrategy[dict[str, Any]]:
    """Specs of the kind, with up to two places spoiled."""
    return _spoiled(value(crd.root_schema(resources.KINDS[kind])["properties"]["spec"]))


@st.composite
def _spoiled(draw: DrawFn, right: SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    spec = draw(right)
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2)))):
        _spoil(draw, spec)
    return spec


def value(schema: Schema) -> SearchStrategy[Any]:
    """Values inside the schema's bounds; rules between fields may still be broken by them."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return _integers(schema)
        case "string":
            return _texts(schema)
        case "array":
            return _lists(schema)
        case _ if "additionalProperties" in schema:
            return st.dictionaries(_keys(schema), value(schema["additionalProperties"]), max_size=2)
        case _:
            return _objects(schema)


def _integers(schema: Schema) -> SearchStrategy[int]:
    low, high = schema["minimum"], schema["maximum"]
    usual = {schema.get("default", low), low, min(low + 1, high), min(low + 5, high), high}
    return st.sampled_from(sorted(usual, key=lambda number: (number != schema.get("default", low), number)))


def _texts(schema: Schema) -> SearchStrategy[str]:
    low, high = schema.get("minLength", 0), schema["maxLength"]
    if "pattern" in schema:
        # `$` is the end of the text for both judges; for Python it also stands before a last newline.
        exact = re.compile(schema["pattern"].removesuffix("$") + r"\Z", re.ASCII)

        def stretched(text: str) -> str:
            longest = text + text[-1:] * (high - len(text))
            return longest if exact.search(longest) else text

        fitting = st.from_regex(exact).filter(lambda text: low <= len(text) <= high)
        return st.one_of(fitting, fitting, fitting.map(stretched))
    # As many characters as allowed, of one, two and four bytes each.
    full = st.sampled_from(("x", "é", "𝄞")).map(lambda character: character * high)
    return st.one_of(st.text(_CHARACTERS, min_size=low, max_size=low + 8), full)


def _lists(schema: Schema) -> SearchStrategy[list[Any]]:
    items, low = value(schema["items"]), schema.get("minItems", 0)
    keys = schema.get("x-kubernetes-list-map-keys", ())
    unique = (lambda item: tuple(item[key] for key in keys)) if keys else None
    is_set = schema.get("x-kubernetes-list-type") == "set"
    return st.lists(items, min_size=low, max_size=max(low, 2), unique_by=unique, unique=is_set)


def _keys(schema: Schema) -> SearchStrategy[str]:
    (rule,) = schema["x-kubernetes-validations"]
    if found := KEY_PATTERN.search(rule["rule"]):
        return st.from_regex(re.compile(found[1].removesuffix("$") + r"\Z", re.ASCII))
    return st.text(_CHARACTERS, min_size=1, max_size=8)


def _objects(schema: Schema) -> SearchStrategy[dict[str, Any]]:
    unions = [MEMBER.findall(rule["rule"]) for rule in schema.get("x-kubernetes-validations", ())]
    children = {name: value(child) for name, child in schema.get("properties", {}).items()}
    return _members(children, set(schema.get("required", ())), [union for union in unions if union])


@st.composite
def _members(
    draw: DrawFn, children: dict[str, SearchStrategy[Any]], required: set[str], unions: list[list[str]]
) -> dict[str, Any]:
    """Required members, one of each union, and a few of the others."""
    wanted = required | {draw(st.sampled_from(union)) for union in unions}
    free = set(children) - wanted - {member for union in unions for member in union}
    wanted |= {name for name in children if name in free and draw(_SELDOM)}
    return {name: draw(child) for name, child in children.items() if name in wanted}


def _spoil(draw: DrawFn, spec: dict[str, Any]) -> None:
    """Change one place of the spec, whichever it is, into something that may be wrong."""
    places = list(_places(spec))
    container, key = draw(st.sampled_from(places))
    change = draw(st.sampled_from(("nudge", "odd value", "remove", "double", "add")))
    here = container[key]
    if change == "odd value":
        container[key] = draw(st.sampled_from(ODD_VALUES))
    elif change == "remove":
        del container[key]
    elif change == "double" and isinstance(container, list):
        container.append(here)
    elif change == "add" and isinstance(container, dict):
        container[draw(st.sampled_from(("unknown", "", "snake_case", "with space")))] = draw(
            st.sampled_from((None, "a"))
        )
    else:
        container[key] = _nudged(draw, here)


def _nudged(draw: DrawFn, here: Any) -> Any:
    """A neighbour of the value that is here."""
    if isinstance(here, bool):
        return "true"
    if isinstance(here, int):
        return here + draw(st.sampled_from((1, -1, 1000, -1000)))
    if isinstance(here, str):
        odd = draw(st.sampled_from(ODD_TEXTS))
        return draw(
            st.sampled_from((here + odd, odd + here, here + here[-1:], here.upper(), here[:-1], here + "x" * 70))
        )
    if isinstance(here, list):
        return [*here, None]
    return {**here, "": ""} if isinstance(here, dict) else "a"


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a value, outermost first."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(node, dict):
        pairs = [(node, key) for key in node]
    elif isinstance(node, list):
        pairs = [(node, index) for index in range(len(node))]
    return pairs + [place for container, key in pairs for place in _places(container[key])]
