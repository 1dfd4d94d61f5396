"""The end state of a namespace in a form that is equal for equal outcomes of different runs.

Masked: the namespace's name, UIDs, times, resource versions, addresses, what controllers note for themselves. Digests
are not dropped but numbered in the order of their appearance: that a pod template names the settings file that exists
stays visible, which digest it is does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from e2e.faults.mirror import IN_EVERY_NAMESPACE, MADE_BY_CONTROLLERS, OWNERS, Mirror, Seen
from e2e.faults.rules import DIGEST, masked

TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
TOLD = re.compile(r"\bhas ([0-9a-f]{10}), not ([0-9a-f]{10})\b")
DIGEST_PREFIX = 8
METADATA = ("annotations", "labels", "name", "ownerReferences", "finalizers", "deletionTimestamp")
STATUS = {
    "deployments": ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas", "unavailableReplicas"),
    "jobs": ("succeeded", "failed"),
}
NOTED_BY_SERVER = frozenset({"clusterIP", "clusterIPs"})
_WITHOUT_ORDER = frozenset({"from", "to"})
Golden = dict[str, Any]


def end_state(mirror: Mirror, namespace: str) -> Golden:
    """Return what is in a namespace, masked; the users' own claims and secrets are not the operator's and stay out."""
    return masked_state(mirror.live(namespace), namespace)


def masked_state(objects: Sequence[Seen], namespace: str) -> Golden:
    """Return `objects` (oldest first) by kind and name, masked."""
    wanted = [each for each in objects if matters(each)]
    uids = {each.body["metadata"]["uid"]: f"uid of {_title(each)}" for each in objects}
    found: Golden = {}
    for seen in sorted(wanted, key=lambda each: (_title(each), each.first)):
        title = _title(seen)
        while title in found:
            title += "'"
        found[title] = _content(seen)
    state: Golden = _walk(found, _Mask(namespace, uids, _digests(objects)))
    return state


def _digests(objects: Sequence[Seen]) -> frozenset[str]:
    """How the digests begin that are certain: in names, as whole annotations, and as settings that a pod should run."""
    found = set()
    for seen in objects:
        metadata = seen.body["metadata"]
        certain = DIGEST.findall(metadata["name"])
        certain += [value for value in metadata.get("annotations", {}).values() if DIGEST.fullmatch(value)]
        for condition in seen.body.get("status", {}).get("conditions", ()):
            certain += [each for pair in TOLD.findall(condition.get("message", "")) for each in pair]
        found |= {each[:DIGEST_PREFIX] for each in certain}
    return frozenset(found)


@dataclass
class _Mask:
    namespace: str
    uids: Mapping[str, str]
    known: frozenset[str]
    digests: dict[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """Return one text masked."""
        text = UID.sub(lambda match: self.uids.get(match[0], "another uid"), text)
        text = TIME.sub("a time", text)
        text = re.sub(rf"(?<![\w-]){re.escape(self.namespace)}(?![\w-])", "NAMESPACE", text)
        return DIGEST.sub(self._numbered, text)

    def _numbered(self, match: re.Match[str]) -> str:
        start = match[0][:DIGEST_PREFIX]
        if match[0].isdecimal() and start not in self.known:
            return match[0]
        return self.digests.setdefault(start, f"digest-{len(self.digests) + 1}")


def _walk(value: Any, mask: _Mask) -> Any:
    if isinstance(value, str):
        return mask.text(value)
    if isinstance(value, Mapping):
        return {mask.text(key): _ordered(key, _walk(value[key], mask)) for key in sorted(value)}
    return [_walk(each, mask) for each in value] if isinstance(value, list) else value


def _ordered(key: str, value: Any) -> Any:
    """Sort what has no order of its own: ends of a flow are sorted by what is masked here."""
    return sorted(value, key=json.dumps) if key in _WITHOUT_ORDER and isinstance(value, list) else value


def differences(wanted: Any, found: Any, place: str = "") -> list[str]:
    """Return where two end states differ, one line each."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        lines = []
        for key in sorted({*wanted, *found}):
            here = f"{place}.{key}" if place else key
            if key not in found:
                lines.append(f"{here} is missing")
            elif key not in wanted:
                lines.append(f"{here} is there but should not be")
            else:
                lines += differences(wanted[key], found[key], here)
        return lines
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            line
            for index, (left, right) in enumerate(zip(wanted, found, strict=True))
            for line in differences(left, right, f"{place}[{index}]")
        ]
    return [] if wanted == found else [f"{place} is {_short(found)} instead of {_short(wanted)}"]


def matters(seen: Seen) -> bool:
    if seen.plural in MADE_BY_CONTROLLERS:
        return False
    return (seen.plural, seen.body["metadata"]["name"]) not in IN_EVERY_NAMESPACE


def _title(seen: Seen) -> str:
    return f"{seen.plural}/{masked(seen.body['metadata']['name'])}"


def _content(seen: Seen) -> dict[str, Any]:
    body = seen.body
    found = {key: value for key, value in body.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    found["metadata"] = {key: body["metadata"][key] for key in METADATA if key in body["metadata"]}
    if seen.plural in OWNERS:
        found["metadata"]["generation"] = body["metadata"]["generation"]
        found["status"] = body.get("status", {})
    elif seen.plural in STATUS:
        found["status"] = {key: body.get("status", {}).get(key, 0) for key in STATUS[seen.plural]}
    if isinstance(found.get("spec"), dict):
        found["spec"] = {key: value for key, value in found["spec"].items() if key not in NOTED_BY_SERVER}
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 200 else f"{text[:200]}..."
