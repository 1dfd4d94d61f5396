"""What the status says of autoscalers: those of Kubernetes, those of KEDA, and several of them as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lectern_contract.conditions import Verdict
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import workload

Manifest = Mapping[str, Any]
RETRY_SECONDS = 10.0
"""How soon a resource that waits for another project's kind looks again: no event tells that it was installed."""
_ASPECT = ConditionType.SCALER_READY
_DISABLED = "ScalingDisabled"
"""Reason of an autoscaler whose target has no replicas: it rests with it."""


def autoscaler(name: str, found: Manifest | None) -> Verdict:
    """Judge the HorizontalPodAutoscaler `name` by what its controller says."""
    if found is None:
        return Verdict(_ASPECT, "Unknown", Reason.PROGRESSING, f"HorizontalPodAutoscaler {name} does not exist yet")
    able, active = workload.condition(found, "AbleToScale"), workload.condition(found, "ScalingActive")
    if able.get("status") == "False":
        message = f"HorizontalPodAutoscaler {name} cannot scale ({able.get('reason', '')}): see what it says of itself"
        return Verdict(_ASPECT, "False", Reason.SCALER_REJECTED, message)
    # Kubernetes' own messages name pods and figures, which move: the reason does not
    match active.get("status"):
        case "True":
            return Verdict(_ASPECT, "True", Reason.SCALER_ACTIVE, f"HorizontalPodAutoscaler {name} is active")
        case "False" if active.get("reason") == _DISABLED:
            return Verdict(_ASPECT, "True", Reason.SCALER_ACTIVE, f"HorizontalPodAutoscaler {name} rests at no replica")
        case "False":
            message = (
                f"HorizontalPodAutoscaler {name} has no CPU figures ({active.get('reason', '')}): see that "
                "metrics-server is installed, or set replicas instead of autoscaling"
            )
            return Verdict(_ASPECT, "False", Reason.SCALER_REJECTED, message)
        case _:
            message = f"HorizontalPodAutoscaler {name} has not been looked at yet"
            return Verdict(_ASPECT, "Unknown", Reason.PROGRESSING, message)


def scaled_object(name: str, found: Manifest | None, keda: Fact[bool], *, without: str) -> Verdict:
    """Judge the ScaledObject `name`; `without` says what to do, and what runs meanwhile, where there is no KEDA."""
    match keda:
        case Unknown(reason):
            return Verdict(_ASPECT, "Unknown", Reason.UNKNOWN, reason)
        case Known(value=False):
            message = f"the kind ScaledObject does not exist: install KEDA, or {without}"
            return Verdict(_ASPECT, "False", Reason.KEDA_NOT_INSTALLED, message)
        case Known():
            return _judged(name, found)


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the first verdict that is not as it should be, or all of them as one."""
    given = list(verdicts)
    for wanted in ("False", "Unknown"):
        for each in given:
            if each.status == wanted:
                return each
    if not given:
        return Verdict(_ASPECT, "True", Reason.NOT_NEEDED, "the number of replicas is fixed by the spec")
    return Verdict(_ASPECT, "True", given[0].reason, "; ".join(each.message for each in given))


def _judged(name: str, found: Manifest | None) -> Verdict:
    ready = workload.condition(found, "Ready") if found is not None else {}
    said = ready.get("message") or ready.get("reason", "")
    match ready.get("status"):
        case "True":
            return Verdict(_ASPECT, "True", Reason.SCALER_ACTIVE, f"KEDA accepted ScaledObject {name}")
        case "False":
            return Verdict(_ASPECT, "False", Reason.SCALER_REJECTED, f"KEDA on ScaledObject {name}: {said}")
        case _:
            judged = f"KEDA on ScaledObject {name}: {said}" if said else f"KEDA has not judged ScaledObject {name} yet"
            return Verdict(_ASPECT, "Unknown", Reason.PROGRESSING, judged)
