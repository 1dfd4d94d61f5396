"""Whether the running pods have loaded the settings that the spec asks for, as they say themselves at `/configz`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lectern_contract import labels
from lectern_contract.conditions import Verdict
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.settings import SETTINGS_VERSION
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import Loaded
from lectern_operator.policies.last_words import last_words

Manifest = Mapping[str, Any]
REFUSED_EXIT = 2
"""Exit status of a runtime that will not have its settings file."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One running pod and what it said."""

    pod: Manifest
    loaded: Fact[Loaded]


def running(pods: Sequence[Manifest], *roles: str) -> list[Manifest]:
    """Return the pods of these roles whose containers run, by name."""
    found = [
        pod
        for pod in pods
        if pod["metadata"].get("labels", {}).get(labels.ROLE) in roles
        and pod.get("status", {}).get("phase") == "Running"
        and not pod["metadata"].get("deletionTimestamp")
    ]
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


def verdict(wanted: Mapping[str, str], asked: Sequence[Asked], pods: Sequence[Manifest]) -> Verdict:
    """Compare what pods have loaded with `wanted`, the hash by role; `pods` tell who refused a file."""
    aspect = ConditionType.CONFIG_APPLIED
    if refusal := _refusal(pods, wanted, asked):
        return Verdict(aspect, "False", Reason.SETTINGS_REFUSED, refusal)
    behind, silent = _behind(wanted, asked), [each for each in asked if isinstance(each.loaded, Unknown)]
    if behind:
        one = behind[0]
        message = f"{len(behind)} of {len(asked)} pods run other settings than the spec asks for ({one})"
        return Verdict(aspect, "False", Reason.SETTINGS_PENDING, message)
    if silent:
        first = silent[0]
        assert isinstance(first.loaded, Unknown)
        message = f"{len(silent)} of {len(asked)} pods have not said what they run: {first.loaded.reason}"
        return Verdict(aspect, "Unknown", Reason.SETTINGS_PENDING, message)
    # said of no pod as well: a status that changes when the last worker rests would be written with every wave of load
    told = ", ".join(f"{role} {digest[:10]}" for role, digest in sorted(wanted.items()))
    return Verdict(aspect, "True", Reason.SETTINGS_LOADED, f"every running pod has loaded {told}")


def settled(found: Verdict) -> bool:
    """Say whether nobody has to be asked again."""
    return found.status == "True"


def _behind(wanted: Mapping[str, str], asked: Sequence[Asked]) -> list[str]:
    found = []
    for each in asked:
        role = each.pod["metadata"]["labels"][labels.ROLE]
        if isinstance(each.loaded, Known) and role in wanted and each.loaded.value.config_hash != wanted[role]:
            version = each.loaded.value.schema_version
            other = f", schema version {version} instead of {SETTINGS_VERSION}" if version != SETTINGS_VERSION else ""
            found.append(f"{role} has {each.loaded.value.config_hash[:10]}, not {wanted[role][:10]}{other}")
    return found


def _refusal(pods: Sequence[Manifest], wanted: Mapping[str, str], asked: Sequence[Asked]) -> str:
    """Return the words of the first pod that ended because of its settings; empty when none did.

    They stand while it is started again and again, until it has said what it loaded.
    """
    answered = {each.pod["metadata"]["name"] for each in asked if isinstance(each.loaded, Known)}
    for pod in sorted(pods, key=lambda each: str(each["metadata"]["name"])):
        if pod["metadata"].get("labels", {}).get(labels.ROLE) not in wanted or pod["metadata"].get("deletionTimestamp"):
            continue
        for container in pod.get("status", {}).get("containerStatuses", ()):
            state = container.get("state", {})
            ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
            works = "running" in state and pod["metadata"]["name"] in answered
            if not works and ended.get("exitCode") == REFUSED_EXIT:
                cause = last_words(str(ended.get("message", ""))) or "see its logs"
                return f"the {pod['metadata']['labels'][labels.ROLE]} refuses its settings: {cause}"[:1000]
    return ""
