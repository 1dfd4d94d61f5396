"""Derived names: injective, and within the limits of Kubernetes, Kafka and Qdrant, for every resource name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from lectern_contract import names
from lectern_contract.names import Role, Topic

resource_names = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
namespaces = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
roles = st.sampled_from(list(Role))
topics = st.sampled_from(list(Topic))
generations = st.integers(1, 10_000)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
KAFKA_TOPIC = re.compile(r"[a-zA-Z0-9.-]{1,249}")


def test_roles_are_single_words_so_that_the_last_hyphen_separates_them() -> None:
    assert [role for role in Role if not role.value.isalpha()] == []


@given(resource_names, roles, digests)
def test_children_are_dns_labels_within_63_characters(owner: str, role: Role, digest: str) -> None:
    for name, most in (
        (names.child(owner, role), 52),  # a CronJob's name; a ScaledObject and a label value have 63
        (names.settings_config_map(owner, role, digest), 63),
        (names.one_run(owner, digest), 63),
    ):
        assert DNS_LABEL.fullmatch(name)
        assert len(name) <= most


@given(namespaces, resource_names, topics, generations)
def test_names_outside_the_cluster_keep_their_limits(ns: str, kb: str, topic: Topic, generation: int) -> None:
    assert KAFKA_TOPIC.fullmatch(names.topic(ns, kb, topic))
    assert KAFKA_TOPIC.fullmatch(names.consumer_group(ns, kb, generation))
    for name in (names.collection(ns, kb, generation), names.alias(ns, kb)):
        assert len(name) <= 255
        assert not set(name) & set('<>:"/\\|?*\0')


@given(st.tuples(resource_names, roles), st.tuples(resource_names, roles))
def test_two_owners_or_roles_never_share_a_child(one: tuple[str, Role], other: tuple[str, Role]) -> None:
    assert (names.child(*one) == names.child(*other)) == (one == other)


@given(st.tuples(namespaces, resource_names, generations), st.tuples(namespaces, resource_names, generations))
def test_two_knowledge_bases_or_generations_never_share_a_collection(
    one: tuple[str, str, int], other: tuple[str, str, int]
) -> None:
    same = one == other
    assert (names.collection(*one) == names.collection(*other)) == same
    assert (names.consumer_group(*one) == names.consumer_group(*other)) == same
    assert (names.alias(*one[:2]) == names.alias(*other[:2])) == (one[:2] == other[:2])


def test_names_that_look_alike_stay_apart() -> None:
    owners = ["a", "a-worker", "a-worker-worker", "worker", "a-g1", "a-g1-g2"]
    derived: list[Callable[[str], list[str]]] = [
        lambda owner: [names.child(owner, role) for role in Role],
        lambda owner: [names.collection("n", owner, generation) for generation in (1, 2, 11)],
        lambda owner: [names.topic(ns, owner, topic) for ns in ("n", "n-a") for topic in Topic],
    ]
    for derive in derived:
        found = list(itertools.chain.from_iterable(derive(owner) for owner in owners))
        assert len(set(found)) == len(found)


@given(namespaces, resource_names, resource_names, generations)
def test_an_alias_is_never_the_collection_of_any_knowledge_base(ns: str, one: str, other: str, number: int) -> None:
    assert names.alias(ns, one) != names.collection(ns, other, number)
    assert names.alias(ns, "docs-g1") != names.collection(ns, "docs", 1)
