"""What kstatus computes for a custom resource; helm --wait, Flux and kpt decide by it whether to wait or to give up.

After the rules of sigs.k8s.io/cli-utils (pkg/kstatus/README.md): deletion, generation, the two abnormal-true
conditions in the order of the list, then Ready; a resource that says nothing of all this counts as Current.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """The results that a custom resource can have."""

    CURRENT = "Current"
    FAILED = "Failed"
    IN_PROGRESS = "InProgress"
    TERMINATING = "Terminating"


def compute(resource: Mapping[str, Any]) -> Status:
    """Return the status of `resource`."""
    metadata, status = resource["metadata"], resource.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Status.TERMINATING
    if "generation" in metadata and status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return Status.IN_PROGRESS
    conditions = status.get("conditions", ())
    for each in conditions:
        match each["type"], each["status"]:
            case "Reconciling", "True":
                return Status.IN_PROGRESS
            case "Stalled", "True":
                return Status.FAILED
    for each in conditions:
        if each["type"] == "Ready":
            return Status.CURRENT if each["status"] == "True" else Status.IN_PROGRESS
    return Status.CURRENT
