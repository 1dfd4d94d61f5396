"""A strict checker of CustomResourceDefinitions, independent of the code that makes them.

It holds what the API server demands of a structural schema, and what we demand beyond that: a description and
bounds on everything that a user writes, and expressions that mean one thing to the server and to Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Node = Mapping[str, Any]
UNSEEN = {"observedGeneration": 0}
"""The one default of a status: that nobody has looked yet."""
ALLOWED = {
    "additionalProperties", "default", "description", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "items",
    "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "pattern",
    "properties", "required", "type", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
    "x-kubernetes-validations",
}  # fmt: skip
TYPES = {
    "array": (list, tuple),
    "boolean": (bool,),
    "integer": (int,),
    "object": (dict,),
    "string": (str,),
}
# Lookaround, backreferences and possessive repeats do not exist in RE2, a dot may or may not be a newline, and
# engines differ in what is a space, a digit, a word.
NOT_PORTABLE = re.compile(r"\(\?[=!<]|\\[1-9]|[*+?}]\+|(?<!\\)\.")
CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]")
SHORTHAND = re.compile(r"\\[sSdDwWbB]")
SELF_FIELD = re.compile(r"\b(?:self|oldSelf)\.([A-Za-z]\w*)(?!\w*\()")


def structural_problems(crd: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a definition, one sentence a problem; nothing means that it can be installed."""
    problems = []
    for version in crd["spec"]["versions"]:
        root = version["schema"]["openAPIV3Schema"]
        if "status" not in version.get("subresources", {}):
            problems.append("the status subresource is missing")
        if set(root["properties"]) != {"apiVersion", "kind", "metadata", "spec", "status"}:
            problems.append("the root has other fields than apiVersion, kind, metadata, spec and status")
        for name in ("spec", "status"):
            problems += _problems(root["properties"][name], name, bounded=name == "spec")
        problems += _rule_problems(root, "(root)")
        status = dict(root["properties"]["status"])
        if status.pop("default", UNSEEN) != UNSEEN or _defaults_below(status):
            problems.append("status has defaults: nobody but the operator says what was observed")
    return problems


def _problems(node: Node, path: str, *, bounded: bool) -> Iterator[str]:
    """Problems of one node and of everything below it."""
    kind = node.get("type")
    if kind not in TYPES:
        yield f"{path}: type is {kind!r}"
        return
    if unknown := sorted(set(node) - ALLOWED):
        yield f"{path}: {', '.join(unknown)} is not allowed"
    if "default" in node:
        yield from _value_problems(node["default"], node, f"{path} default")
    if not all(isinstance(word, TYPES[kind]) for word in node.get("enum", ())) or node.get("enum") == []:
        yield f"{path}: enum is empty or of another type"
    if "pattern" in node and not _portable(node["pattern"]):
        yield f"{path}: pattern {node['pattern']} does not mean the same to RE2 and to Rust"
    if bounded:
        yield from _bound_problems(node, path)
    yield from _list_problems(node, path)
    yield from _object_problems(node, path, bounded=bounded)
    yield from _rule_problems(node, path)


def _portable(pattern: str) -> bool:
    return not (SHORTHAND.search(pattern) or NOT_PORTABLE.search(CLASS.sub("[]", pattern)))


def _bound_problems(node: Node, path: str) -> Iterator[str]:
    """What a user writes has an end: the cost of rules is estimated from it, and so is our memory."""
    needed = {"integer": ("minimum", "maximum"), "string": ("maxLength",), "array": ("maxItems",)}.get(node["type"], ())
    if "additionalProperties" in node:
        needed = ("maxProperties",)
    if "enum" not in node and (missing := [name for name in needed if name not in node]):
        yield f"{path}: no {', '.join(missing)}"


def _list_problems(node: Node, path: str) -> Iterator[str]:
    if node["type"] != "array":
        if "items" in node or "x-kubernetes-list-type" in node:
            yield f"{path}: items of something that is no list"
        return
    yield from _problems(node["items"], f"{path}[]", bounded="maxItems" in node and "status" not in path)
    items, keys = node["items"], node.get("x-kubernetes-list-map-keys", [])
    match node.get("x-kubernetes-list-type"):
        case "map" if not keys or not set(keys) <= set(items.get("required", ())):
            yield f"{path}: the keys of a map list must be required fields of its items"
        case "set" if items["type"] in ("object", "array"):
            yield f"{path}: a set of {items['type']}s"
        case None if keys:
            yield f"{path}: keys without the list type map"


def _object_problems(node: Node, path: str, *, bounded: bool) -> Iterator[str]:
    properties = node.get("properties", {})
    if node["type"] != "object" and (properties or "additionalProperties" in node or "required" in node):
        yield f"{path}: members of something that is no object"
    if "additionalProperties" in node:
        if properties or not isinstance(node["additionalProperties"], dict):
            yield f"{path}: additionalProperties beside properties, or true or false"
        else:
            yield from _problems(node["additionalProperties"], f"{path}.*", bounded=bounded)
    if stray := sorted(set(node.get("required", ())) - set(properties)):
        yield f"{path}: {', '.join(stray)} is required and does not exist"
    for name, child in properties.items():
        if not str(child.get("description", "")).endswith("."):
            yield f"{path}.{name}: no description, or not a sentence"
        if "default" in child and name in node.get("required", ()):
            yield f"{path}.{name}: required and with a default"
        yield from _problems(child, f"{path}.{name}", bounded=bounded)


def _rule_problems(node: Node, path: str) -> Iterator[str]:
    """Rules read fields that exist, say what is wrong in one line, and blame a field that exists."""
    for rule in node.get("x-kubernetes-validations", ()):
        if set(rule) - {"rule", "message", "fieldPath"} or not rule.get("message") or "\n" in rule["message"]:
            yield f"{path}: a rule needs one line of message, and nothing else is in use: {rule}"
        named = {*SELF_FIELD.findall(rule["rule"]), *rule.get("fieldPath", "").split(".")[1:2]}
        if "properties" in node and (missing := sorted(named - set(node["properties"]))):
            yield f"{path}: a rule names {', '.join(missing)}, which does not exist"


def _value_problems(value: Any, node: Node, path: str) -> Iterator[str]:
    """A default is itself valid; the server refuses the definition otherwise."""
    kind = node.get("type", "")
    if not _is_a(kind, value):
        yield f"{path}: {value!r} is no {kind}"
    elif kind == "string":
        if not node.get("minLength", 0) <= len(value) <= node.get("maxLength", len(value)):
            yield f"{path}: {value!r} is too short or too long"
        if "pattern" in node and not re.search(node["pattern"], value):
            yield f"{path}: {value!r} does not match {node['pattern']}"
        if value not in node.get("enum", (value,)):
            yield f"{path}: {value!r} is not one of {node['enum']}"
    elif kind == "integer" and not node.get("minimum", value) <= value <= node.get("maximum", value):
        yield f"{path}: {value} is out of bounds"
    elif kind == "array":
        for item in value:
            yield from _value_problems(item, node["items"], path)
    elif kind == "object":
        for name, item in value.items():
            child = node.get("properties", {}).get(name, node.get("additionalProperties", {}))
            yield from _value_problems(item, child, f"{path}.{name}")


def _is_a(kind: str, value: Any) -> bool:
    return isinstance(value, TYPES.get(kind, ())) and not (kind == "integer" and isinstance(value, bool))


def _defaults_below(node: Node) -> bool:
    children = [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]
    return "default" in node or any(_defaults_below(child) for child in children)
