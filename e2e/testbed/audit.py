"""Reads the API server's audit log: which requests a service account made, and which of them were refused.

The testbed's policy logs service accounts only (`commands.write_audit_policy`), so a test gives the program under test
one, and compares what it asked for with what it was granted.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """One request for a resource: `resource` carries its subresource, `status` is HTTP's.

    `forbidden` says that the right was missing; a namespace on its way out refuses with the same status.
    """

    group: str
    resource: str
    verb: str
    namespace: str
    status: int
    forbidden: bool

    @property
    def right(self) -> tuple[str, str, str]:
        """The right that it needs: group, resource, verb."""
        return self.group, self.resource, self.verb


def asked(log: Path, account: str) -> Iterator[Asked]:
    """Yield the requests of the service account `namespace:name` that the API server has logged so far."""
    user = f"system:serviceaccount:{account}"
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                return  # being written
            event = json.loads(line)
            found = event.get("objectRef")
            if event["user"]["username"] == user and found and "resource" in found:
                yield Asked(
                    group=found.get("apiGroup", ""),
                    resource="/".join(part for part in (found["resource"], found.get("subresource", "")) if part),
                    verb=event["verb"],
                    namespace=found.get("namespace", ""),
                    status=event.get("responseStatus", {}).get("code", 0),
                    forbidden=event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid",
                )
