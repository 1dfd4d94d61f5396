"""What tools that follow kstatus (kubectl wait, Flux, Argo CD) conclude from a resource.

After sigs.k8s.io/cli-utils pkg/kstatus/status: deletion, observedGeneration, Reconciling, Stalled, then Ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Concluded = Literal["Current", "InProgress", "Failed", "Terminating"]


def conclude(body: Mapping[str, Any]) -> Concluded:
    """Return what kstatus says of a custom resource."""
    metadata, status = body["metadata"], body.get("status") or {}
    if "deletionTimestamp" in metadata:
        return "Terminating"
    observed = status.get("observedGeneration")
    if observed is not None and observed != metadata.get("generation"):
        return "InProgress"
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "Current" if conditions.get("Ready", "True") == "True" else "InProgress"
