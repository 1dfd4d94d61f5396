"""How Prometheus finds the metrics of a role: a ServiceMonitor that selects our Service by its labels.

Made only where the kind is served. Series carry the labels `namespace`, `service` and `pod`, which the Prometheus
operator sets by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from lectern_contract import names
from lectern_contract.names import Role
from lectern_operator.desired.metadata import Manifest, Owner, metadata, sealed, selector

API_VERSION = "monitoring.coreos.com/v1"


def service_monitor(of: Owner, role: Role, *, extra_labels: Iterable[tuple[str, str]] = ()) -> Manifest:
    """Return the ServiceMonitor of `role`, which must have a Service; a Prometheus may select by `extra_labels`."""
    about = metadata(of, names.child(of.name, role), role)
    about["labels"] = {**dict(extra_labels), **about["labels"]}
    return sealed(
        {
            "apiVersion": API_VERSION,
            "kind": "ServiceMonitor",
            "metadata": about,
            "spec": {
                "selector": {"matchLabels": selector(of, role)},
                "endpoints": [{"port": "http", "path": "/metrics", "honorLabels": False}],
            },
        }
    )
