"""How many pods of a service a drain of nodes may take at once."""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_operator.desired.metadata import Manifest, Owner, metadata, sealed, selector


def disruption_budget(of: Owner, role: Role) -> Manifest:
    """Return the budget of `role`: one pod at a time, and those that do not work anyway at any time.

    Said as what may be missing and not as what must be there: that holds for any number of replicas, so that an
    autoscaler may change it, and it never blocks a drain for good.
    """
    return sealed(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata(of, names.child(of.name, role), role),
            "spec": {
                "selector": {"matchLabels": selector(of, role)},
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        }
    )
