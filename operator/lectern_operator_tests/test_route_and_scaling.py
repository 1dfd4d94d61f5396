"""What autoscalers and Gateways say, as a verdict: one row for each thing that they can say."""

from __future__ import annotations

from typing import Any

import pytest

from lectern_contract.conditions import Verdict
from lectern_contract.resources import RagEndpoint
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.facts import Known, Unknown
from lectern_operator.policies import route, scaling
from lectern_operator_tests import worlds

SCALER = ConditionType.SCALER_READY


def judged(verdict: Verdict) -> tuple[str, Reason]:
    return verdict.status, verdict.reason


def autoscaler(*conditions: tuple[str, str, str]) -> dict[str, Any]:
    found = [{"type": kind, "status": status, "reason": reason} for kind, status, reason in conditions]
    return {"metadata": {"name": "ask-query"}, "status": {"conditions": found}}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], ("Unknown", Reason.PROGRESSING)),
        ([("AbleToScale", "True", "SucceededGetScale")], ("Unknown", Reason.PROGRESSING)),
        ([("AbleToScale", "False", "FailedGetScale")], ("False", Reason.SCALER_REJECTED)),
        ([("ScalingActive", "True", "ValidMetricFound")], ("True", Reason.SCALER_ACTIVE)),
        ([("ScalingActive", "False", "ScalingDisabled")], ("True", Reason.SCALER_ACTIVE)),
        ([("ScalingActive", "False", "FailedGetResourceMetric")], ("False", Reason.SCALER_REJECTED)),
        ([("ScalingActive", "Unknown", "")], ("Unknown", Reason.PROGRESSING)),
    ],
)
def test_an_autoscaler_is_judged_by_what_its_controller_says(
    conditions: list[tuple[str, str, str]], expected: tuple[str, Reason]
) -> None:
    assert judged(scaling.autoscaler("ask-query", autoscaler(*conditions))) == expected


def test_an_autoscaler_that_is_not_there_is_not_known() -> None:
    assert judged(scaling.autoscaler("ask-query", None)) == ("Unknown", Reason.PROGRESSING)


@pytest.mark.parametrize(
    ("ready", "keda", "expected"),
    [
        ({"status": "True"}, Known(value=True), ("True", Reason.SCALER_ACTIVE)),
        ({"status": "False", "message": "no trigger"}, Known(value=True), ("False", Reason.SCALER_REJECTED)),
        ({"status": "Unknown", "message": "some triggers"}, Known(value=True), ("Unknown", Reason.PROGRESSING)),
        ({}, Known(value=True), ("Unknown", Reason.PROGRESSING)),
        ({"status": "True"}, Known(value=False), ("False", Reason.KEDA_NOT_INSTALLED)),
        ({"status": "True"}, Unknown("not allowed"), ("Unknown", Reason.UNKNOWN)),
    ],
)
def test_a_scaled_object_is_judged_by_what_keda_says(
    ready: dict[str, str], keda: Known[bool] | Unknown, expected: tuple[str, Reason]
) -> None:
    found = {"metadata": {"name": "x"}, "status": {"conditions": [{"type": "Ready", **ready}] if ready else []}}
    verdict = scaling.scaled_object("x", found, keda, without="wait")
    assert judged(verdict) == expected
    if "message" in ready and keda == Known(value=True):
        assert verdict.message == f"KEDA on ScaledObject x: {ready['message']}"


def test_of_several_autoscalers_the_first_that_is_not_well_speaks_for_all() -> None:
    well = Verdict(SCALER, "True", Reason.SCALER_ACTIVE, "one")
    unknown = Verdict(SCALER, "Unknown", Reason.PROGRESSING, "two")
    wrong = Verdict(SCALER, "False", Reason.SCALER_REJECTED, "three")
    assert scaling.together([well, unknown, wrong]) == wrong
    assert scaling.together([well, unknown]) == unknown
    assert scaling.together([well, well]) == Verdict(SCALER, "True", Reason.SCALER_ACTIVE, "one; one")
    assert judged(scaling.together([])) == ("True", Reason.NOT_NEEDED)


def routed() -> RagEndpoint:
    return worlds.endpoint(exposure={"httpRoute": {"gatewayName": "public", "gatewayNamespace": "gateways"}})


def said(name: str, namespace: str | None, *, accepted: str, resolved: str | None = "True") -> dict[str, Any]:
    """Return what one Gateway says of the route."""
    conditions = [{"type": "Accepted", "status": accepted, "reason": "R", "message": "m", "observedGeneration": 2}]
    if resolved is not None:
        conditions.append({"type": "ResolvedRefs", "status": resolved, "reason": "R", "observedGeneration": 2})
    reference = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"parentRef": reference, "conditions": conditions}


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ([], ("Unknown", Reason.PROGRESSING)),
        ([said("public", "gateways", accepted="True")], ("True", Reason.ROUTE_ACCEPTED)),
        ([said("public", "gateways", accepted="True", resolved=None)], ("Unknown", Reason.PROGRESSING)),
        ([said("public", "gateways", accepted="False")], ("False", Reason.ROUTE_REJECTED)),
        ([said("public", "gateways", accepted="True", resolved="False")], ("False", Reason.ROUTE_REJECTED)),
        ([said("public", None, accepted="True")], ("Unknown", Reason.PROGRESSING)),
        ([said("other", "gateways", accepted="False")], ("Unknown", Reason.PROGRESSING)),
        (
            [said("other", "gateways", accepted="False"), said("public", "gateways", accepted="True")],
            ("True", Reason.ROUTE_ACCEPTED),
        ),
    ],
)
def test_a_route_is_judged_by_its_own_gateway_alone(parents: list[Any], expected: tuple[str, Reason]) -> None:
    found = {
        "metadata": {"name": "ask-query", "namespace": "team", "generation": 2},
        "status": {"parents": parents},
    }
    verdict = route.verdict(routed(), {("HTTPRoute", "ask-query"): found}, Known(value=True))
    assert judged(verdict) == expected


def test_what_a_gateway_said_of_an_earlier_route_counts_for_nothing() -> None:
    found = {
        "metadata": {"name": "ask-query", "namespace": "team", "generation": 3},
        "status": {"parents": [said("public", "gateways", accepted="False")]},
    }
    verdict = route.verdict(routed(), {("HTTPRoute", "ask-query"): found}, Known(value=True))
    assert judged(verdict) == ("Unknown", Reason.PROGRESSING)


def test_whether_the_gateway_api_is_there_may_be_unknown() -> None:
    assert judged(route.verdict(routed(), {}, Unknown("forbidden"))) == ("Unknown", Reason.UNKNOWN)


def test_of_many_host_names_the_status_shows_the_first() -> None:
    hosts = [f"h{number}.example.com" for number in range(16)]
    endpoint = worlds.endpoint(exposure={"httpRoute": {"gatewayName": "public", "hostnames": hosts}})
    assert [each.url for each in route.addresses(endpoint)] == [f"//{host}" for host in hosts[: route.SHOWN]]


@pytest.mark.parametrize(("secret", "scheme"), [("tls", "https"), (None, "http")])
def test_an_ingress_has_a_scheme(secret: str | None, scheme: str) -> None:
    ingress = {"host": "ask.example.com", **({"tlsSecretName": secret} if secret else {})}
    endpoint = worlds.endpoint(exposure={"ingress": ingress})
    assert [each.url for each in route.addresses(endpoint)] == [f"{scheme}://ask.example.com"]
