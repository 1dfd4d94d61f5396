"""Scope: what a reader may see comes from who they are, never from what they ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract.errors import ScopeDenied
from lectern_contract.payload import Field
from lectern_contract.scope import FieldFilter, FilterValue, Partition, Principal, Scope

levels = st.sampled_from(["public", "internal", "secret", "Public", "PUBLIC"])
level_sets = st.frozensets(levels)
filters = st.dictionaries(
    st.sampled_from(["team", "year", "tenant", "access_level"]),
    st.lists(st.one_of(levels, st.integers(), st.booleans()), max_size=3).map(tuple),
    max_size=3,
)


def principal(tenant: str = "acme", *access_levels: str) -> Principal:
    return Principal(subject="anna", tenant=tenant, access_levels=frozenset(access_levels))


@given(level_sets, level_sets, filters)
def test_a_scope_never_exceeds_its_principal(
    granted: frozenset[str], known: frozenset[str], wanted: dict[str, tuple[FilterValue, ...]]
) -> None:
    reader = Principal("anna", "acme", granted)
    try:
        scope = Scope.of_reader(reader, known_levels=known, filters=wanted, filterable=wanted)
    except ScopeDenied:
        assert not granted & known
        return

    assert set(scope.access_levels) == granted & known
    assert scope.must[:2] == (
        FieldFilter(Field.TENANT, ("acme",)),
        FieldFilter(Field.ACCESS_LEVEL, scope.access_levels),
    )
    # a filter named like the mandatory fields lands below metadata and adds to them
    assert {f.field for f in scope.must[2:]} == {Field.metadata(name) for name in wanted}


@pytest.mark.parametrize(
    "reader", [principal("acme"), principal("", "public"), principal("acme", "secret"), principal("acme", "Public")]
)
def test_nothing_to_read_is_denied_and_case_is_not_folded(reader: Principal) -> None:
    with pytest.raises(ScopeDenied):
        Scope.of_reader(reader, known_levels=["public"])


def test_a_filter_on_a_field_that_is_not_declared_is_denied_with_the_offer() -> None:
    with pytest.raises(ScopeDenied, match="'salary' is not declared as filterable; declared: team, year"):
        Scope.of_reader(
            principal("acme", "public"), known_levels=["public"], filters={"salary": (1,)}, filterable=["year", "team"]
        )


@pytest.mark.parametrize("partition", [Partition("", "public"), Partition("acme", "")])
def test_a_writer_needs_a_whole_partition(partition: Partition) -> None:
    with pytest.raises(ScopeDenied):
        Scope.of_writer(partition)


def test_a_write_has_exactly_one_partition() -> None:
    assert Scope.of_writer(Partition("acme", "public")).partition.key == "acme/public"
    with pytest.raises(ScopeDenied, match="exactly one"):
        _ = Scope("acme", ("internal", "public")).partition


def test_partitions_are_those_of_the_levels_in_order() -> None:
    scope = Scope.of_reader(principal("acme", "public", "internal"), known_levels=["public", "internal"])

    assert [partition.key for partition in scope.partitions] == ["acme/internal", "acme/public"]


scopes = st.builds(
    Scope,
    st.sampled_from(["acme", "acme/public", "globex"]),
    level_sets.map(lambda found: tuple(sorted(found))),
    st.lists(
        st.builds(FieldFilter, levels, st.lists(st.one_of(levels, st.integers(0, 1), st.booleans())).map(tuple))
    ).map(tuple),
)


def told_apart(scope: Scope) -> str:
    """The scope with the types of its values: True and 1 are equal in Python and not in a filter."""
    return repr(scope)


@given(scopes, scopes)
def test_digests_tell_scopes_apart(one: Scope, other: Scope) -> None:
    assert (one.digest() == other.digest()) == (told_apart(one) == told_apart(other))
