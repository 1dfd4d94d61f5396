"""What every model server of a RagEndpoint has beside its pods: an identity, who may reach it, and its metrics."""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources import RagEndpoint
from lectern_contract.resources.common import ManagedServer
from lectern_operator.desired import model_cache, network_policy
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner
from lectern_operator.desired.service_account import service_account
from lectern_operator.desired.service_monitor import service_monitor

HUB_PORT = 443


def model_access(
    endpoint: RagEndpoint, role: Role, server: ManagedServer, images: Images, *, monitored: bool
) -> list[Manifest]:
    """Return what surrounds the server of `role`: nobody but the query service of the same endpoint asks it."""
    of = owner(endpoint)
    found = [service_account(of, role, pull_secrets=images.pull_secrets)]
    if endpoint.spec.network_policy.enabled:
        clients = [network_policy.role_of(of, Role.QUERY)]
        if monitored:
            clients.append(network_policy.prometheus(images))
        hub = () if model_cache.offline(server) else (network_policy.dns(), network_policy.anywhere(HUB_PORT))
        found.append(network_policy.network_policy(of, role, port=names.EMBEDDER_PORT, ingress=clients, egress=hub))
    if monitored:
        found.append(service_monitor(of, role, extra_labels=images.monitor_labels))
    return found
