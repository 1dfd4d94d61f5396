"""What the real API server adds to and changes in an object, as far as it could fool a comparison."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from lectern_operator.facts.quantities import amount

Manifest = dict[str, Any]


def defaulted(body: Manifest) -> Manifest:
    """Return `body` as the API server would give it back; it is changed in place."""
    spec = body.get("spec", {})
    match body["kind"]:
        case "Deployment":
            spec.setdefault("replicas", 1)
            _pod(spec["template"]["spec"])
        case "Job":
            spec |= {"parallelism": 1, "completions": 1, "completionMode": "NonIndexed"}
            _pod(spec["template"]["spec"])
        case "CronJob":
            _pod(spec["jobTemplate"]["spec"]["template"]["spec"])
        case "Service":
            spec |= {"sessionAffinity": "None", "ipFamilies": ["IPv4"]}
            spec.setdefault("clusterIP", "10.96.0.7")
        case "PersistentVolumeClaim":
            spec |= {"volumeMode": "Filesystem"}
            spec["resources"]["requests"] = _amounts(spec["resources"]["requests"])
        case _:
            pass
    return body


def _pod(spec: Manifest) -> None:
    spec |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    for container in spec["containers"]:
        container |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}
        for what, given in container.get("resources", {}).items():
            container["resources"][what] = _amounts(given)
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            if name in container:
                container[name] |= {"successThreshold": 1}
                container[name]["httpGet"] |= {"scheme": "HTTP"}
    for volume in spec.get("volumes", ()):
        if "configMap" in volume:
            volume["configMap"]["defaultMode"] = 420


def _amounts(given: Manifest) -> Manifest:
    """Write each quantity another way with the same value, as the server does with 1000m or 1024Mi."""
    return {name: _rewritten(value) for name, value in given.items()}


def _rewritten(text: str) -> str:
    value = amount(text)
    assert isinstance(value, Decimal)
    return f"{value * 1000:.0f}m"
