"""The identity of a workload's pods: a ServiceAccount without a token and without rights.

None of our pods talks to Kubernetes. An account of its own keeps them from sharing whatever somebody grants to the
namespace's `default` account, and carries the pull secrets in one place: the API server copies them into each pod that
names none itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from lectern_contract import names
from lectern_contract.names import Role
from lectern_operator.desired.metadata import Manifest, Owner, given, metadata, sealed


def service_account(of: Owner, role: Role, *, pull_secrets: Iterable[str] = ()) -> Manifest:
    """Return the ServiceAccount of the pods of `role`; `pull_secrets` are those of `Images`."""
    return sealed(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(of, names.child(of.name, role), role),
            "automountServiceAccountToken": False,
            **given(imagePullSecrets=[{"name": name} for name in pull_secrets]),
        }
    )
