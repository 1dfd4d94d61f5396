"""Names, labels, owner reference and digest of every object that the operator makes.

Builders call `metadata` first and `sealed` last; `sealed` makes equal input equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lectern_contract import labels
from lectern_contract.names import Role
from lectern_contract.resources import API_VERSION, AnyResource

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """The resource that children belong to."""

    kind: str
    name: str
    namespace: str
    uid: str


def owner(resource: AnyResource) -> Owner:
    """Return what children have to know of `resource`."""
    return Owner(resource.kind_name, resource.name, resource.namespace, resource.metadata.uid)


def child_labels(of: Owner, role: Role) -> dict[str, str]:
    """Return the labels of a child and of its pods."""
    return {
        "app.kubernetes.io/name": "lectern",
        "app.kubernetes.io/component": role.value,
        "app.kubernetes.io/managed-by": "lectern",
        **selector(of, role),
    }


def selector(of: Owner, role: Role) -> dict[str, str]:
    """Return the labels that find the pods of `role`; they never change, because a selector cannot."""
    return {labels.OWNER_UID: of.uid, labels.ROLE: role.value}


def metadata(of: Owner, name: str, role: Role, annotations: Mapping[str, str] | None = None) -> Manifest:
    """Return the metadata of the child `name`."""
    reference = {
        "apiVersion": API_VERSION,
        "kind": of.kind,
        "name": of.name,
        "uid": of.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": name,
        "namespace": of.namespace,
        "labels": child_labels(of, role),
        "annotations": dict(annotations or {}),
        "ownerReferences": [reference],
    }


def sealed(manifest: Manifest) -> Manifest:
    """Return `manifest` with sorted keys and the digest of itself as an annotation."""
    text = json.dumps(manifest, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    result: Manifest = json.loads(text)
    result["metadata"]["annotations"] = {**result["metadata"]["annotations"], labels.APPLIED: digest}
    return result


def given(**fields: Any) -> Manifest:
    """Return the fields that have something in them: the API server drops empty ones, and then they would differ."""
    return {name: value for name, value in fields.items() if value is not None and value not in ({}, [], ())}
