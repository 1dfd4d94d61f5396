"""Network policies: everything is denied that is not named, and each named flow reads as Kubernetes needs it."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract.names import Role
from lectern_contract.resources.common import HttpUrl
from lectern_operator.desired import flows, network_policy
from lectern_operator.desired import knowledge_base as desired
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Owner
from lectern_operator.desired.network_policy import Peer, anywhere, dns, role_of, role_of_any, servers
from lectern_operator_tests import worlds
from lectern_operator_tests.test_golden import CASES, Manifests

OF = Owner("KnowledgeBase", "docs", "team", "uid-kb")
DNS_PORTS = [{"protocol": protocol, "port": port} for port in (53, 5353) for protocol in ("TCP", "UDP")]


def rules(ingress: list[Peer], egress: list[Peer], port: int | None = 8080) -> dict[str, Any]:
    spec = network_policy.network_policy(OF, Role.WORKER, port=port, ingress=ingress, egress=egress)["spec"]
    assert spec.pop("podSelector") == {"matchLabels": {"lectern.dev/owner-uid": "uid-kb", "lectern.dev/role": "worker"}}
    assert spec.pop("policyTypes") == ["Ingress", "Egress"]
    return dict(spec)


def in_namespace(name: str, **more: Any) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}, **more}


def test_without_flows_everything_is_denied() -> None:
    assert rules([], [], None) == {}


def test_flows_with_the_same_ports_are_one_rule_whatever_their_order() -> None:
    first, second = role_of(OF, Role.EMBEDDER), role_of_any(Role.QUERY, namespace="other")
    expected = {
        "ingress": [
            {
                "from": [
                    in_namespace("other", podSelector={"matchLabels": {"lectern.dev/role": "query"}}),
                    {
                        "podSelector": {
                            "matchLabels": {"lectern.dev/owner-uid": "uid-kb", "lectern.dev/role": "embedder"}
                        }
                    },
                ],
                "ports": [{"protocol": "TCP", "port": 8080}],
            }
        ],
        "egress": [{"ports": DNS_PORTS}],
    }
    assert rules([first, second], [dns()]) == expected
    assert rules([second, first, second], [dns(), dns()]) == expected


def test_what_reaches_everything_is_not_narrowed_by_another_flow() -> None:
    everything = Peer(())
    assert rules([], [everything, role_of(OF, Role.EMBEDDER)]) == {"egress": [{}]}


def test_nothing_can_reach_pods_that_open_no_port() -> None:
    with pytest.raises(AssertionError, match="opens no port"):
        rules([dns()], [], None)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://qdrant:6333", [{"to": [{"podSelector": {}}]}]),
        ("http://qdrant.team.svc:6333", [{"to": [{"podSelector": {}}]}]),
        ("http://qdrant.store.svc:6333", [{"to": [in_namespace("store")]}]),
        ("https://qdrant.store.svc.cluster.local.", [{"to": [in_namespace("store")]}]),
        ("kafka-0.brokers.kafka.svc.example.org:9092", [{"to": [in_namespace("kafka")]}]),
        ("https://models.example.com/v1", 443),
        ("http://models.example.com", 80),
        ("https://a.svc.example.com:7", 7),
        ("http://10.0.0.7:6333", 6333),
        ("http://[fd00::7]:6333", 6333),
    ],
)
def test_where_an_address_leads(address: str, expected: Any) -> None:
    if isinstance(expected, int):
        blocks = [{"ipBlock": {"cidr": block}} for block in ("0.0.0.0/0", "::/0")]
        expected = [{"to": blocks, "ports": [{"protocol": "TCP", "port": expected}]}]
    assert rules([], list(servers(address, namespace="team")))["egress"] == expected


def test_a_name_of_two_parts_may_be_a_service_or_a_site() -> None:
    assert servers("https://qdrant.io", namespace="team") == (network_policy.namespace_pods("io"), anywhere(443))


def test_several_brokers_are_several_ends() -> None:
    found = servers("kafka-0.example.com:9093,kafka-1.example.com:9094,kafka:9092", namespace="team")
    assert found == (anywhere(9093), anywhere(9094), network_policy.namespace_pods())


@pytest.mark.parametrize("address", ["http://qdrant:6333x", "http://qdrant:99999", "http://[::1", "http://:80", ""])
def test_what_is_no_address_leads_nowhere(address: str) -> None:
    assert servers(address, namespace="team") == ()


@given(st.from_regex(get_args(HttpUrl)[1].pattern, fullmatch=True))
def test_no_address_that_a_spec_may_have_breaks_a_policy(address: str) -> None:
    network_policy.network_policy(OF, Role.WORKER, port=None, ingress=(), egress=servers(address, namespace="team"))


def test_only_the_monitoring_namespace_scrapes_where_one_is_named() -> None:
    images = Images(monitoring_namespace="monitoring")
    assert rules([network_policy.prometheus(images)], [])["ingress"][0]["from"] == [in_namespace("monitoring")]
    anyone = rules([network_policy.prometheus(Images())], [])["ingress"][0]["from"]
    names = {"key": "app.kubernetes.io/name", "operator": "In", "values": ["prometheus", "prometheus-agent"]}
    assert anyone == [{"namespaceSelector": {}, "podSelector": {"matchExpressions": [names]}}]


def test_an_endpoint_of_another_namespace_asks_the_embedder_where_it_is() -> None:
    kb = worlds.knowledge_base()
    of = Owner("KnowledgeBase", "docs", "team", "uid-kb")
    assert flows.embedder(kb) == (role_of(of, Role.EMBEDDER),)
    assert flows.embedder(kb, "elsewhere") == (role_of(of, Role.EMBEDDER, namespace="team"),)


def policies(manifests: Manifests) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"}


@pytest.mark.parametrize("case", CASES)
def test_every_open_port_is_open_to_the_operator_or_serves_no_settings(case: str) -> None:
    """Workers and query services are asked for `/configz`, embedders for their vector length."""
    for name, spec in policies(CASES[case]()).items():
        ends = [end for rule in spec.get("ingress", ()) for end in rule.get("from", ({"everyone": True},))]
        asked = name.rpartition("-")[2] in (Role.WORKER, Role.EMBEDDER, Role.QUERY)
        admitted = in_namespace("lectern-system") in ends or {"everyone": True} in ends
        assert admitted or not asked, name


@pytest.mark.parametrize("case", CASES)
def test_what_a_policy_selects_are_the_pods_of_one_workload(case: str) -> None:
    manifests = CASES[case]()
    workloads = [each for each in manifests if each["kind"] in ("Deployment", "CronJob", "Job")]
    for name, spec in policies(manifests).items():
        selected = spec["podSelector"]["matchLabels"].items()
        templates = [pod_template(each)["metadata"]["labels"].items() for each in workloads]
        assert any(selected <= labels for labels in templates), name


def pod_template(workload: dict[str, Any]) -> dict[str, Any]:
    spec = workload["spec"]["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else workload["spec"]
    template: dict[str, Any] = spec["template"]
    return template


def test_a_knowledge_base_may_do_without_policies() -> None:
    kb = worlds.knowledge_base(networkPolicy={"enabled": False})
    made = desired.manifests(kb, generation=1, replicas=1, scaled=False, monitored=True, images=worlds.IMAGES)
    assert policies(made) == {}


def test_a_server_that_is_offline_reaches_nothing_at_all() -> None:
    cache = {"claimName": "weights", "offline": True}
    kb = worlds.knowledge_base(embedding__server__managed__modelCache=cache)
    made = desired.manifests(kb, generation=1, replicas=1, scaled=False, images=worlds.IMAGES)
    assert "egress" not in policies(made)["docs-embedder"]
