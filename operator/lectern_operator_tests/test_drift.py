"""Drift is a difference in what we want, in canonical form, and nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_operator.facts.quantities import amount
from lectern_operator.policies.drift import drifted


@pytest.mark.parametrize(
    ("wanted", "observed"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "1000m"}}),
        ({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1024Mi"}}),
        ({"emptyDir": {"sizeLimit": "0.5Gi"}}, {"emptyDir": {"sizeLimit": "512Mi"}}),
        ({"emptyDir": {}}, {"emptyDir": {}}),
        (
            {"containers": [{"env": [{"name": "A", "value": "1"}]}]},
            {"containers": [{"env": [{"name": "B"}, {"name": "A", "value": "1"}]}]},
        ),
        (
            {"spec": {"ports": [{"port": 1, "protocol": "TCP"}]}},
            {"spec": {"ports": [{"port": 2, "protocol": "TCP"}, {"port": 1, "protocol": "TCP", "nodePort": 7}]}},
        ),
        ({"spec": {"containers": [{"name": "a"}]}}, {"spec": {"containers": [{"name": "a"}, {"name": "sidecar"}]}}),
        (
            {"spec": {"imagePullSecrets": [{"name": "a"}]}},
            {"spec": {"imagePullSecrets": [{"name": "b"}, {"name": "a"}]}},
        ),
        (
            {"spec": {"topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]}},
            {
                "spec": {
                    "topologySpreadConstraints": [
                        {"topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"},
                        {"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "nodeTaintsPolicy": "Ignore"},
                    ]
                }
            },
        ),
        ({"args": ["--a", "1"]}, {"args": ["--a", "1"]}),
        ({"rules": [{"name": "a"}]}, {"rules": [{"name": "a", "weight": 1}]}),
    ],
)
def test_no_drift(wanted: dict[str, Any], observed: dict[str, Any]) -> None:
    assert not drifted(wanted, observed)


@pytest.mark.parametrize(
    ("wanted", "observed"),
    [
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": True}),
        ({"a": {"b": 1}}, {"a": None}),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "1001m"}}),
        ({"value": "1000m"}, {"value": "1"}),
        (
            {"containers": [{"env": [{"name": "A", "value": "1"}]}]},
            {"containers": [{"env": [{"name": "A", "value": "2"}]}]},
        ),
        ({"spec": {"volumes": [{"name": "a"}]}}, {"spec": {"volumes": []}}),
        ({"args": ["--a", "1"]}, {"args": ["1", "--a"]}),
        ({"args": ["--a"]}, {"args": ["--a", "--b"]}),
        ({"triggers": [{"type": "kafka"}]}, {"triggers": [{"type": "kafka"}, {"type": "cron"}]}),
        ({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}, {"key": "a"}]}),
        ({"imagePullSecrets": [{"name": "a"}]}, {"imagePullSecrets": [{"name": "b"}, {"name": "a"}]}),
        ({"selector": {"a": "1"}}, {"selector": {"a": "1", "b": "2"}}),
        ({"selector": {"matchLabels": {"a": "1"}}}, {"selector": {"matchLabels": {"a": "1", "b": "2"}}}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"a": "1", "b": "2"}}),
        ({"podSelector": {"matchLabels": {"a": "1"}}}, {"podSelector": {"matchLabels": {"a": "1", "b": "2"}}}),
        (
            {"ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 1, "protocol": "TCP"}]}]},
            {
                "ingress": [
                    {
                        "from": [{"podSelector": {}}],
                        "ports": [{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "TCP"}],
                    }
                ]
            },
        ),
        ({"ingress": [{"from": [{"podSelector": {}}]}]}, {"ingress": [{"from": [{"podSelector": {}, "ipBlock": {}}]}]}),
        ({"egress": [{"ports": [{"port": 53}]}]}, {"egress": [{"ports": [{"port": 53}], "to": [{"podSelector": {}}]}]}),
    ],
)
def test_drift(wanted: dict[str, Any], observed: dict[str, Any]) -> None:
    assert drifted(wanted, observed)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), VALUES))
def test_an_object_never_drifts_from_itself(manifest: dict[str, Any]) -> None:
    assert not drifted(manifest, manifest)


@given(st.dictionaries(st.text(max_size=4), VALUES, min_size=1), st.data())
def test_a_field_that_is_gone_is_drift(manifest: dict[str, Any], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(manifest)))
    assert drifted(manifest, {key: value for key, value in manifest.items() if key != gone})


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("100m", Decimal("0.1")), ("1.5", Decimal("1.5")), ("1k", 1000), ("1Ki", 1024), ("2Gi", 2**31)],
)
def test_amounts(text: str, value: Decimal | int) -> None:
    assert amount(text) == value


def test_what_is_no_amount_is_itself() -> None:
    assert amount("a lot") == "a lot"
