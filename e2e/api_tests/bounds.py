"""Walks a whole document beside its structural schema and yields it again and again, one place changed each time.

Where Hypothesis draws combinations, this sweep leaves no bound out: both ends of every range and one beyond,
every word of every enumeration and one in the wrong case, every pattern with what expressions differ on, every
list empty, doubled and too long, every map with odd keys, every field absent, null, of another type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]
REMOVED = object()
# What regular expressions, readers of JSON and counters of characters differ on, if they differ on anything.
ODD_TEXTS = (
    " ", "\n", "\r", "\x00", "\x0b", "\u0085", "\u00a0", "\u2028", "ß", "e\u0301", "𝄞", "\u212a", "/", "..", "?", "#",
    "@", "\\",
)  # fmt: skip
OTHER_TYPES: tuple[Any, ...] = (True, 1, 0.5, 2**63, "a", "1", "true", [], [None], ["a"], {}, {"a": "a"})


@dataclass(frozen=True)
class Variant:
    """A spec that differs from the sample at one place, and where."""

    place: str
    spec: dict[str, Any]


def variants(
    spec: Mapping[str, Any], schema: Schema, seen: set[str], others: Sequence[Mapping[str, Any]]
) -> Iterator[Variant]:
    """Yield the variants of a spec, without those of fields and types that are in `seen` already.

    From `others` (further specs of the kind) come the members that the spec leaves out: the rest of each union.
    """
    for path, node in _places(spec, schema, ()):
        value = _get(spec, path)
        replacements: list[Any] = []
        if path and _is_new(seen, "field", [path[-1], node.get("description"), node["type"]]):
            replacements += (None, REMOVED, [] if isinstance(value, str) else "a")
        if path and _is_new(
            seen, "type", {key: part for key, part in node.items() if key not in ("default", "description")}
        ):
            replacements += (*OTHER_TYPES, *_replacements(value, node))
        if "properties" in node:
            replacements += _joined(value, [_get(other, path) for other in others])
        for replacement in replacements:
            yield Variant(f"{'.'.join(map(str, path))} = {_shown(replacement)}", _with(spec, path, replacement))


def _is_new(seen: set[str], sort: str, what: Any) -> bool:
    key = f"{sort} {json.dumps(what, sort_keys=True)}"
    return key not in seen and not seen.add(key)  # type: ignore[func-returns-value] # None, on purpose


def _places(value: Any, schema: Schema, path: Path) -> Iterator[tuple[Path, Schema]]:
    yield path, schema
    if isinstance(value, dict):
        for name, item in value.items():
            child = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            yield from _places(item, child, (*path, name))
    elif isinstance(value, list):
        yield from _places(value[0], schema["items"], (*path, 0))


def _replacements(value: Any, schema: Schema) -> Iterator[Any]:
    match schema["type"]:
        case "integer":
            yield from (schema["minimum"] - 1, schema["minimum"], schema["maximum"], schema["maximum"] + 1, str(value))
        case "string" if "enum" in schema:
            yield from (*schema["enum"], *map(str.lower, schema["enum"]), value.upper(), value + " ", "")
        case "string":
            yield from _texts(value, schema)
        case "array":
            most = schema["maxItems"]
            yield from (
                value + value,
                [*value, None],
                value[:1] * most,
                _many(value[0], most),
                _many(value[0], most + 1),
            )
        case "object" if "additionalProperties" in schema:
            yield from _maps(value, schema)
        case "object":
            yield from ({**value, name: item} for name in ("unknown", "snake_case", "") for item in (None, "a"))


def _texts(value: str, schema: Schema) -> Iterator[str]:
    yield from (value + odd for odd in ODD_TEXTS)
    yield from (odd + value for odd in ODD_TEXTS[:4])
    yield from ("", value[:-1], value.upper(), value.lower(), value[0], "x", "9", "-", "-1", "0", "1.0")
    for length in (schema["maxLength"], schema["maxLength"] + 1):
        yield from (value + value[-1] * (length - len(value)), "x" * length, "é" * length, "𝄞" * length)


def _maps(value: Mapping[str, Any], schema: Schema) -> Iterator[dict[str, Any]]:
    item, most = next(iter(value.values())), schema["maxProperties"]
    for key in ("", "a-b", "a.b/c", "ä", "a\n", "_", "9", "x" * 63, "x" * 64, "é" * 253, "x" * 254):
        yield {**value, key: item}
    yield {**value, "a": None}
    yield from ({f"key{number}": item for number in range(count)} for count in (most, most + 1))


def _many(item: Any, count: int) -> list[Any]:
    """Items that differ, where a name or a text can be made to."""
    if isinstance(item, str):
        return [f"{item}{number}" for number in range(count)]
    names = [key for key in ("name", "pathPrefix") if key in item]
    return [item | {key: f"{item[key]}{number}" for key in names} for number in range(count)]


def _joined(value: Mapping[str, Any], others: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The object with one more member, as another spec has it in this place."""
    for other in others:
        if isinstance(other, dict):
            yield from ({**value, name: other[name]} for name in sorted(set(other) - set(value)))


def _get(spec: Any, path: Path) -> Any:
    """What lies at the path, or None where it leads nowhere."""
    for part in path:
        inside = part in spec if isinstance(spec, dict) else isinstance(spec, list) and part == 0 and bool(spec)
        spec = spec[part] if inside else None
    return spec


def _with(node: Any, path: Path, replacement: Any) -> Any:
    """The value with the replacement at the path; what lies beside the path is shared, not copied."""
    if not path:
        return replacement
    result = node.copy()
    if len(path) == 1 and replacement is REMOVED:
        del result[path[0]]
    else:
        result[path[0]] = _with(node[path[0]], path[1:], replacement)
    return result


def _shown(replacement: Any) -> str:
    text = "(removed)" if replacement is REMOVED else json.dumps(replacement)
    return text if len(text) <= 60 else f"{text[:60]}... ({len(text)} characters)"
