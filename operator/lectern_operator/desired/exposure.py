"""How the query API is reached from outside: a route of the Gateway API or an Ingress, to the Service.

A streamed answer lasts as long as its question may: proxies that cut a response after their usual 15 or 60 seconds are
told to wait that long.
"""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources import RagEndpoint
from lectern_contract.resources.rag_endpoint import HttpRoute, Ingress
from lectern_operator.desired.metadata import Manifest, given, metadata, owner, sealed

GATEWAY_GROUP = "gateway.networking.k8s.io"
MARGIN_SECONDS = 30
"""Beyond the endpoint's own limit, so that its own answer to a late request arrives."""


def http_route(endpoint: RagEndpoint, route: HttpRoute) -> Manifest:
    """Return the route of the Gateway API."""
    of = owner(endpoint)
    name = names.child(of.name, Role.QUERY)
    gateway = given(group=GATEWAY_GROUP, kind="Gateway", name=route.gateway_name, namespace=route.gateway_namespace)
    return sealed(
        {
            "apiVersion": f"{GATEWAY_GROUP}/v1",
            "kind": "HTTPRoute",
            "metadata": metadata(of, name, Role.QUERY),
            "spec": given(
                parentRefs=[gateway],
                hostnames=list(route.hostnames),
                rules=[
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                        "backendRefs": [{"kind": "Service", "name": name, "port": names.RUNTIME_PORT}],
                        "timeouts": {"request": f"{_seconds(endpoint)}s"},
                    }
                ],
            ),
        }
    )


def ingress(endpoint: RagEndpoint, wanted: Ingress) -> Manifest:
    """Return the Ingress; the annotations are those of ingress-nginx, which other controllers pass over."""
    of = owner(endpoint)
    name = names.child(of.name, Role.QUERY)
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    seconds = str(_seconds(endpoint))
    annotations = {
        "nginx.ingress.kubernetes.io/proxy-buffering": "off",
        "nginx.ingress.kubernetes.io/proxy-read-timeout": seconds,
        "nginx.ingress.kubernetes.io/proxy-send-timeout": seconds,
    }
    tls = [{"hosts": [wanted.host], "secretName": wanted.tls_secret_name}] if wanted.tls_secret_name else []
    return sealed(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata(of, name, Role.QUERY, annotations),
            "spec": given(
                ingressClassName=wanted.class_name,
                tls=tls,
                rules=[
                    {
                        "host": wanted.host,
                        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                    }
                ],
            ),
        }
    )


def _seconds(endpoint: RagEndpoint) -> int:
    return endpoint.spec.resilience.timeout_seconds + MARGIN_SECONDS
