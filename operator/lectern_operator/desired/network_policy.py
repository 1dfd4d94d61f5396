"""Which traffic the pods of a role may have: nothing in either direction but the flows that are named.

Called by every builder of a workload. Policies add up: whoever needs a further flow adds a NetworkPolicy of their own
that selects by our labels. Probes come from the node itself, which no policy holds back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lectern_contract import labels, names
from lectern_contract.names import Role
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, Owner, metadata, sealed, selector

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Label that the API server itself puts on every namespace."""
_EVERYWHERE = ("0.0.0.0/0", "::/0")
_DNS_PORTS = (53, 5353)
"""The second one is where OpenShift's DNS pods listen: policies see the port after a Service has been resolved."""
_DEFAULT_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}


@dataclass(frozen=True, slots=True)
class Peer:
    """One end of a flow: pods or addresses as Kubernetes selects them, and the ports there.

    `ends` empty means everything; `ports` empty means every port, and is filled in by the policy for ingress.
    """

    ends: tuple[str, ...]
    ports: tuple[tuple[str, int], ...] = ()


def role_of(of: Owner, role: Role, *, namespace: str | None = None) -> Peer:
    """Return the pods of `role` of the owner `of`; `namespace` where it is not that of the policy."""
    return _pods({"matchLabels": selector(of, role)}, namespace)


def role_of_any(role: Role, *, namespace: str | None = None) -> Peer:
    """Return the pods of `role` of every owner in the namespace of the policy, or in `namespace`."""
    return _pods({"matchLabels": {labels.ROLE: role.value}}, namespace)


def namespace_pods(namespace: str | None = None) -> Peer:
    """Return every pod of the namespace of the policy, or of `namespace`."""
    return _pods({}, namespace)


def every_namespace() -> Peer:
    """Return every pod of the cluster; what reaches the pods from outside (a load balancer) is `anywhere`."""
    return Peer((_text({"namespaceSelector": {}}),))


def anywhere(*ports: int) -> Peer:
    """Return every address, on these TCP ports only where some are named."""
    return Peer(
        tuple(_text({"ipBlock": {"cidr": block}}) for block in _EVERYWHERE), tuple(("TCP", port) for port in ports)
    )


def dns() -> Peer:
    """Return the name servers, wherever they are: a pod, the node's own cache on a link-local address, or outside."""
    return Peer((), tuple((protocol, port) for port in _DNS_PORTS for protocol in ("TCP", "UDP")))


def operator(images: Images) -> Peer:
    """Return the operator, which asks pods what they run."""
    return _pods({}, images.operator_namespace)


def prometheus(images: Images) -> Peer:
    """Return who may scrape: the monitoring namespace, or any Prometheus that the Prometheus operator runs."""
    if images.monitoring_namespace:
        return _pods({}, images.monitoring_namespace)
    made = {"key": "app.kubernetes.io/name", "operator": "In", "values": ["prometheus", "prometheus-agent"]}
    return Peer((_text({"namespaceSelector": {}, "podSelector": {"matchExpressions": [made]}}),))


def servers(address: str, *, namespace: str) -> tuple[Peer, ...]:
    """Return where `address` leads (a URL, or host:port pairs with commas) for pods in `namespace`.

    A name of the cluster's own DNS leads to pods of its namespace, on any port: a Service may forward to another port
    than its own, and a Kafka broker names further ones. Any other name leads anywhere, on the port that is given. A
    name of two parts may be either, and an address of a Service without pods needs a policy of the user's.
    """
    found: list[Peer] = []
    for host, port in _hosts(address):
        inside = _namespace_of(host, namespace)
        if inside is not None:
            found.append(_pods({}, None if inside == namespace else inside))
        if inside is None or host.count(".") == 1:
            found.append(anywhere(port))
    return tuple(dict.fromkeys(found))


def network_policy(
    of: Owner, role: Role, *, port: int | None, ingress: Sequence[Peer], egress: Sequence[Peer]
) -> Manifest:
    """Return the policy of the pods of `role`: `ingress` may reach `port` (None: no port is open), they `egress`."""
    assert port is not None or not ingress, f"{role} opens no port that {ingress} could reach"
    entries = [_rule("from", peer.ends, (("TCP", port),)) for peer in _merged(ingress) if port is not None]
    exits = [_rule("to", peer.ends, peer.ports) for peer in _merged(egress)]
    spec: Manifest = {"podSelector": {"matchLabels": selector(of, role)}, "policyTypes": ["Ingress", "Egress"]}
    spec |= {"ingress": entries} if entries else {}
    spec |= {"egress": exits} if exits else {}
    return sealed(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata(of, names.child(of.name, role), role),
            "spec": spec,
        }
    )


def _merged(peers: Iterable[Peer]) -> list[Peer]:
    """Return one peer for each set of ports, in an order of its own: equal flows give equal bytes."""
    by_ports: dict[tuple[tuple[str, int], ...], list[Peer]] = {}
    for peer in peers:
        by_ports.setdefault(peer.ports, []).append(peer)
    return [
        Peer(
            tuple(sorted({end for peer in same for end in peer.ends})) if all(peer.ends for peer in same) else (), ports
        )
        for ports, same in sorted(by_ports.items())
    ]


def _rule(direction: str, ends: Iterable[str], ports: Iterable[tuple[str, int]]) -> Manifest:
    found: Manifest = {}
    if selected := [json.loads(end) for end in ends]:
        found[direction] = selected
    if opened := [{"protocol": protocol, "port": port} for protocol, port in ports]:
        found["ports"] = opened
    return found


def _pods(pods: Mapping[str, Any], namespace: str | None) -> Peer:
    if namespace is None:
        return Peer((_text({"podSelector": dict(pods)}),))
    where = {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}}}
    return Peer((_text({**where, "podSelector": dict(pods)} if pods else where),))


def _text(end: Mapping[str, Any]) -> str:
    return json.dumps(end, sort_keys=True)


def _hosts(address: str) -> list[tuple[str, int]]:
    """Return host and port of a URL, or of each host:port pair; what is neither leads nowhere, as its client says."""
    found = []
    for each in address.split(","):
        try:
            parts = urlsplit(each if "://" in each else f"//{each}")
            host, port = parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
        except ValueError:  # a port that is no number or above 65535, a bracket without its other half
            continue
        if host and port:
            found.append((host.rstrip("."), port))
    return found


def _namespace_of(host: str, namespace: str) -> str | None:
    """Return the namespace that the cluster's DNS would look for `host` in; None for an address or a name outside."""
    parts = host.split(".")
    if ":" in host or parts[-1].isdigit():
        return None
    if len(parts) == 1:
        return namespace
    if "svc" in parts[2:]:
        return parts[parts.index("svc", 2) - 1]
    return parts[1] if len(parts) == 2 else None
