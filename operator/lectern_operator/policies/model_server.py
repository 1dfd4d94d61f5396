"""What the status says of a model server of a RagEndpoint: one of ours, one elsewhere, or none at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lectern_contract.conditions import Verdict
from lectern_contract.resources.rag_endpoint import ModelServer, RerankerServer
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.policies import workload

Manifest = Mapping[str, Any]


def unmanaged(aspect: ConditionType, server: ModelServer | RerankerServer | None, *, without: str) -> Verdict | None:
    """Judge a server that is not ours; `without` says what happens when the spec asks for none. None: it is ours."""
    if server is None:
        return Verdict(aspect, "True", Reason.NOT_NEEDED, without)
    if server.external is not None:
        return Verdict(aspect, "True", Reason.EXTERNAL_SERVER, f"{server.external.url} is used and not managed here")
    return None


def managed(
    aspect: ConditionType,
    name: str,
    found: Manifest | None,
    pods: Iterable[Manifest],
    *,
    autoscaled: bool,
    before: Verdict | None,
) -> Verdict:
    """Judge the Deployment `name` as `workload.deployment` does; one that its autoscaler has put to rest is well."""
    verdict = workload.deployment(aspect, name, found, pods, autoscaled=autoscaled, before=before)
    at_rest = found is not None and found["spec"].get("replicas", 1) == 0
    if autoscaled and at_rest and verdict.status == "True":
        message = f"Deployment {name} has no replica because nothing asks for one; the first question starts one"
        return Verdict(aspect, "True", Reason.SCALED_TO_ZERO, message)
    return verdict
