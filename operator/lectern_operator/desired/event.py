"""A Kubernetes Event about one transition: its name follows from what it tells, so that it exists once."""

from __future__ import annotations

import hashlib

from lectern_contract.names import LABEL_PREFIX
from lectern_operator.desired.metadata import Manifest

CONTROLLER = f"{LABEL_PREFIX}/operator"
MOST_NOTE = 1024
"""Bytes: what the API server takes, though it speaks of characters."""


def event(
    regarding: Manifest, *, aspect: str, status: str, reason: str, message: str, at: str, severity: str, instance: str
) -> Manifest:
    """Return the Event for the condition `aspect` of `regarding`, which went over to `status` at `at` (RFC 3339)."""
    metadata = regarding["metadata"]
    digest = hashlib.sha256("\n".join((metadata["uid"], aspect, status, reason, at)).encode()).hexdigest()[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": metadata["namespace"]},
        "eventTime": f"{at.removesuffix('Z')}.000000Z",
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": aspect,
        "reason": reason,
        "type": severity,
        "note": f"{aspect} is {status}: {message}".encode()[:MOST_NOTE].decode(errors="ignore"),
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
    }
