"""What the status says of the way in from outside: a route that a Gateway has to accept, an Ingress, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lectern_contract import names
from lectern_contract.conditions import Verdict
from lectern_contract.names import Role
from lectern_contract.resources import RagEndpoint
from lectern_contract.resources.rag_endpoint import HttpRoute
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_contract.resources.status import Endpoint
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies.changes import Key

Manifest = Mapping[str, Any]
SHOWN = 5
"""Host names that the status shows."""
_ASPECT = ConditionType.ROUTE_READY
_ASKED = ("Accepted", "ResolvedRefs")
"""Conditions that the controller of a Gateway sets on each route for each parent."""


def verdict(endpoint: RagEndpoint, children: Mapping[Key, Manifest], gateway: Fact[bool]) -> Verdict:
    """Judge how `endpoint` is reached from outside; `gateway` says whether the kind HTTPRoute is served."""
    exposure, name = endpoint.spec.exposure, names.child(endpoint.name, Role.QUERY)
    if exposure.ingress is not None:
        if ("Ingress", name) in children:
            return Verdict(_ASPECT, "True", Reason.ROUTE_ACCEPTED, f"Ingress {name} leads to the service")
        return Verdict(_ASPECT, "Unknown", Reason.PROGRESSING, f"Ingress {name} does not exist yet")
    if exposure.http_route is None:
        return Verdict(_ASPECT, "True", Reason.NOT_NEEDED, "the service is reached from inside the cluster only")
    match gateway:
        case Unknown(reason):
            return Verdict(_ASPECT, "Unknown", Reason.UNKNOWN, reason)
        case Known(value=False):
            message = "the kind HTTPRoute does not exist: install the Gateway API, or use exposure.ingress"
            return Verdict(_ASPECT, "False", Reason.GATEWAY_NOT_INSTALLED, message)
        case Known():
            return _accepted(name, exposure.http_route, children.get(("HTTPRoute", name)))


def addresses(endpoint: RagEndpoint) -> list[Endpoint]:
    """Return the addresses that the exposure gives; whether a Gateway speaks TLS is for its listener to say."""
    exposure = endpoint.spec.exposure
    if exposure.ingress is not None:
        scheme = "https" if exposure.ingress.tls_secret_name else "http"
        return [Endpoint(name="ingress", url=f"{scheme}://{exposure.ingress.host}")]
    hosts = exposure.http_route.hostnames[:SHOWN] if exposure.http_route is not None else ()
    return [Endpoint(name=f"route-{number}", url=f"//{host}") for number, host in enumerate(hosts, start=1)]


def _accepted(name: str, wanted: HttpRoute, found: Manifest | None) -> Verdict:
    gateway = f"Gateway {wanted.gateway_namespace}/{wanted.gateway_name}"
    if wanted.gateway_namespace is None:
        gateway = f"Gateway {wanted.gateway_name}"
    said = _said(wanted, found) if found is not None else {}
    for kind in _ASKED:
        if (condition := said.get(kind)) is not None and condition.get("status") == "False":
            words = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            return Verdict(_ASPECT, "False", Reason.ROUTE_REJECTED, f"{gateway} on HTTPRoute {name}: {words}")
    if all(said.get(kind, {}).get("status") == "True" for kind in _ASKED):
        return Verdict(_ASPECT, "True", Reason.ROUTE_ACCEPTED, f"{gateway} accepted HTTPRoute {name}")
    message = f"{gateway} has not judged HTTPRoute {name} yet: see that it exists, and that its controller runs"
    return Verdict(_ASPECT, "Unknown", Reason.PROGRESSING, message)


def _said(wanted: HttpRoute, found: Manifest) -> dict[str, Manifest]:
    """Return the conditions, by type, that are about our Gateway and about the route as it is now."""
    generation, said = found["metadata"].get("generation", 1), {}
    for parent in found.get("status", {}).get("parents", ()):
        reference = parent.get("parentRef", {})
        namespace = reference.get("namespace") or found["metadata"]["namespace"]
        ours = (wanted.gateway_name, wanted.gateway_namespace or found["metadata"]["namespace"])
        if (reference.get("name"), namespace) != ours:
            continue
        for condition in parent.get("conditions", ()):
            if condition.get("observedGeneration", 0) >= generation:
                said[str(condition.get("type"))] = condition
    return said
