"""The finalizer on a resource of ours, as a server-side apply of nothing else: our manager owns that entry alone."""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.resources import API_VERSION, AnyResource
from lectern_operator.desired.metadata import Manifest


def hold(resource: AnyResource, *, held: bool) -> Manifest:
    """Return what puts our finalizer onto `resource`, or takes it away."""
    metadata = {"name": resource.name, "namespace": resource.namespace, "uid": resource.metadata.uid}
    finalizers = {"finalizers": [names.FINALIZER]} if held else {}
    return {"apiVersion": API_VERSION, "kind": resource.kind_name, "metadata": {**metadata, **finalizers}}
