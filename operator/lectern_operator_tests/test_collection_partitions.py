"""Where partitions lie, how they move, how many copies shards have: one row a situation, then any order of events."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lectern_contract import collection as contract
from lectern_contract.collection import FALLBACK_SHARD_KEY, GROWN_POINTS, MAX_SHARD_KEYS, ShardKey
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import Reason
from lectern_contract.resources.status import PartitionState
from lectern_operator.facts import Known, Unknown
from lectern_operator.facts.vector_store import (
    CopyPartition,
    CopyShard,
    CreateShardKeys,
    DeleteCopies,
    ObservedCollection,
    PreparePartition,
    SetAlias,
    Shared,
    Step,
    Unreachable,
)
from lectern_operator.policies import collection as policy
from lectern_operator.policies import partitions
from lectern_operator_tests import worlds
from lectern_operator_tests.collections_seen import (
    ACME,
    ALIAS,
    DEDICATED,
    KB,
    MANY,
    NAME,
    complete,
    plan,
    shard,
    shared,
    store,
    verdict,
    with_key,
)
from lectern_operator_tests.fake_vector_store import FakeServer

# ---------------------------------------------------------------------------------------------------- partitions


def test_a_thousand_keys_are_made_in_bounded_passes_with_the_fallback_at_the_end() -> None:
    kb = worlds.knowledge_base(partitioning__tenants=MANY)
    server, passes = FakeServer(), 0
    while True:
        found = plan(kb, Known(server.seen(policy.subject(kb))))
        if not found.steps:
            break
        made = [step for step in found.steps if isinstance(step, CreateShardKeys)]
        assert max(len(step.keys) for step in made) <= partitions.MAX_KEYS_A_PASS
        assert found.more == all(key.key != FALLBACK_SHARD_KEY for key in made[0].keys)
        assert found.more == (not any(isinstance(step, SetAlias) for step in found.steps))
        for step in found.steps:
            server.take("url", step)
        passes += 1
    assert passes == 21
    assert len(server.collections[NAME].keys) == 1001


def test_deciding_over_a_thousand_keys_takes_milliseconds() -> None:
    kb = worlds.knowledge_base(partitioning__tenants=MANY)
    seen = store(complete(kb))
    began = time.perf_counter()
    assert plan(kb, seen) == policy.StorePlan()
    assert verdict(kb, seen)[0] == "True"
    partitions.states(kb, name=NAME, store=seen)
    assert time.perf_counter() - began < 0.5


def test_a_key_is_prepared_when_points_may_lie_in_the_fallback() -> None:
    steps = (PreparePartition(NAME, ACME), CopyPartition(NAME, ACME))
    assert plan(DEDICATED, store(complete())) == policy.StorePlan(steps, more=True)
    found = verdict(DEDICATED, store(complete()))
    assert found == ("False", Reason.PROGRESSING, "1 partitions move to shards of their own, acme/public first")


@pytest.mark.parametrize(
    ("found", "steps", "more"),
    [
        (with_key(complete(), "acme/public", shard(2, "Partial")), (CopyPartition(NAME, ACME),), True),
        (with_key(complete(), "acme/public", shard(2, "Partial", busy=True)), (), True),
        (with_key(complete(), "acme/public", shard(2, "Dead")), (), False),
        (with_key(complete(), "acme/public", shard(2, "Active")), (), False),
    ],
    ids=["prepared", "on its way", "lost", "there"],
)
def test_a_move_goes_on_from_what_is_seen(found: ObservedCollection, steps: tuple[Step, ...], more: bool) -> None:
    assert plan(DEDICATED, store(found)) == policy.StorePlan(steps, more=more)
    assert plan(KB, store(found)) == policy.StorePlan(steps, more=more)


def test_partitions_move_one_at_a_time_those_with_most_points_first() -> None:
    tenants = [{"name": name, "dedicated": True} for name in ("a", "b", "c")]
    kb = worlds.knowledge_base(partitioning={"shardBy": "Tenant", "tenants": tenants})
    both = {name: Shared(ShardKey(name, name, None), points) for name, points in (("b", 9), ("c", 5))}
    found = complete(kb, keys=complete().keys, shared=Known(both))
    (prepared, copied) = plan(kb, store(found)).steps
    assert (prepared, copied) == (
        PreparePartition(NAME, ShardKey("b", "b", None)),
        CopyPartition(NAME, ShardKey("b", "b", None)),
    )
    busy = with_key(found, FALLBACK_SHARD_KEY, shard(1, "Active", busy=True))
    assert plan(kb, store(busy)) == policy.StorePlan(more=True)


@pytest.mark.parametrize(("points", "moves"), [(GROWN_POINTS - 1, False), (GROWN_POINTS, True)])
def test_a_partition_moves_from_a_number_of_points_on_and_stays_ready(points: int, moves: bool) -> None:
    found = complete(shared=shared(ACME, points))
    assert bool(plan(KB, store(found)).steps) == moves
    assert verdict(KB, store(found))[0] == "True"


def test_a_partition_does_not_grow_beyond_the_keys_that_a_collection_takes() -> None:
    keys = {f"t{number}/public": (shard(number, "Active"),) for number in range(MAX_SHARD_KEYS)}
    full = complete(keys={**complete().keys, **keys}, shared=shared(ACME, GROWN_POINTS))
    assert plan(KB, store(full)) == policy.StorePlan()
    found = verdict(DEDICATED, store(full))
    assert found[1] == Reason.COLLECTION_CHANGED
    assert "there is none left for acme/public" in found[2]


@pytest.mark.parametrize(
    ("counts", "deleted"), [((5, 5), True), ((5, 6), True), ((0, 0), True), ((5, 4), False), ((), False)]
)
def test_copies_are_deleted_only_when_no_document_is_missing(counts: tuple[int, ...], deleted: bool) -> None:
    found = with_key(complete(shared=shared(ACME, 10, *counts)), "acme/public", shard(2, "Active"))
    owner = contract.owner(KB, 1)
    assert plan(KB, store(found)).steps == ((DeleteCopies(NAME, owner, ACME),) if deleted else ())


@pytest.mark.parametrize("state", ["Partial", "Dead", "Initializing", "Recovery"])
def test_copies_stay_while_their_own_key_does_not_answer(state: str) -> None:
    found = with_key(complete(shared=shared(ACME, 10, 5, 5)), "acme/public", shard(2, state))
    assert not any(isinstance(step, DeleteCopies) for step in plan(DEDICATED, store(found)).steps)


def test_nothing_moves_while_points_cannot_be_counted() -> None:
    found = with_key(complete(shared=Unknown("too many conditions")), "acme/public", shard(2, "Active"))
    assert plan(DEDICATED, store(found)) == policy.StorePlan()


def test_nothing_moves_in_a_collection_that_was_made_for_something_else() -> None:
    other = complete(owner=replace(contract.owner(KB, 1), index_identity="other"))
    assert plan(DEDICATED, store(other)) == policy.StorePlan()


def test_another_number_of_shards_is_told_and_left() -> None:
    tenants = [{"name": "acme", "dedicated": True, "shardNumber": 4}]
    kb = worlds.knowledge_base(partitioning__tenants=tenants)
    found = complete(DEDICATED)
    assert plan(kb, store(found)) == policy.StorePlan()
    status, reason, message = verdict(kb, store(found))
    assert (status, reason) == ("False", Reason.COLLECTION_CHANGED)
    assert "shard key acme/public of team.docs.g1 has 1 shards, not 4" in message


def test_status_tells_where_partitions_lie() -> None:
    tenants = [{"name": name} for name in ("moving", "own", "small", "two-places")]
    kb = worlds.knowledge_base(partitioning={"shardBy": "Tenant", "tenants": tenants})
    keys = {
        **complete().keys,
        "moving": (shard(2, "Partial"),),
        "own": (shard(3, "Active"),),
        "two-places": (shard(4, "Active"),),
        "theirs/strange": (shard(5, "Active"),),
    }
    both = Known({"two-places": Shared(ShardKey("two-places", "two-places", None), 2, 1, 1)})
    told, count = partitions.states(kb, name=NAME, store=store(complete(kb, keys=keys, shared=both)))
    assert told == (
        PartitionState(name="moving", shard_key=FALLBACK_SHARD_KEY, placement="Promoting"),
        PartitionState(name="own", shard_key="own", placement="Dedicated"),
        PartitionState(name="small", shard_key=FALLBACK_SHARD_KEY, placement="Shared"),
        PartitionState(name="two-places", shard_key="two-places", placement="Promoting"),
    )
    assert count == 4


def test_status_tells_the_first_partitions_and_how_many_there_are() -> None:
    kb = worlds.knowledge_base(partitioning__tenants=MANY)
    told, count = partitions.states(kb, name=NAME, store=store(complete(kb)))
    assert (len(told), told[0].name, count) == (64, "tenant-0000/public", 1000)


def test_status_of_partitions_stays_while_the_store_is_unread() -> None:
    before = (PartitionState(name="a", shard_key="a", placement="Dedicated"),)
    kb = KB.model_copy(update={"status": KB.status.model_copy(update={"partitions": before, "partition_count": 1})})
    assert partitions.states(kb, name=NAME, store=Unreachable("silent")) == (before, 1)
    assert partitions.states(kb, name=NAME, store=store(None, None)) == ((), 0)


# -------------------------------------------------------------------------------------------------------- copies


THRICE = worlds.knowledge_base(vectorStore__replicationFactor=3)


def test_copies_of_shards_are_added_one_at_a_time_where_there_is_most_room() -> None:
    keys = {FALLBACK_SHARD_KEY: (shard(1, "Active"),), "acme/public": (shard(2, "Active", "Active"),)}
    found = complete(THRICE, keys=keys, peers=(1, 2, 3, 4))
    assert plan(THRICE, store(found)) == policy.StorePlan((CopyShard(NAME, 1, source=1, target=3),), more=True)
    told = f"2 shards of {NAME} get more copies"
    assert verdict(THRICE, store(found)) == ("False", Reason.PROGRESSING, told)
    busy = replace(found, keys={**keys, FALLBACK_SHARD_KEY: (shard(1, "Active", busy=True),)})
    assert plan(THRICE, store(busy)).steps == ()


def test_fewer_nodes_than_copies_are_told() -> None:
    found = complete(THRICE, peers=(1,))
    assert plan(THRICE, store(found)) == policy.StorePlan()
    told = (
        "spec.vectorStore.replicationFactor is 3, Qdrant has 1 nodes: each shard has a copy on each of them; "
        "add nodes, or lower replicationFactor"
    )
    assert verdict(THRICE, store(found)) == ("False", Reason.COLLECTION_CHANGED, told)


def test_more_copies_than_asked_for_are_left() -> None:
    found = with_key(complete(), FALLBACK_SHARD_KEY, shard(1, "Active", "Active", "Active"))
    assert plan(KB, store(found)) == policy.StorePlan()
    assert verdict(KB, store(found))[0] == "True"


def test_a_promoted_partition_gets_its_copies_afterwards() -> None:
    server = FakeServer(peers=3)
    kb = THRICE
    settled(server, kb)
    for _ in range(3):
        server.write(NAME, "acme", "public", 4, by="TenantAndAccessLevel")
    promoted = worlds.knowledge_base(
        vectorStore__replicationFactor=3, partitioning__tenants=[{"name": "acme", "dedicated": True}]
    )
    settled(server, promoted)
    assert {key: [len(each.replicas) for each in shards] for key, shards in server.collections[NAME].keys.items()} == {
        FALLBACK_SHARD_KEY: [3],
        "acme/public": [3],
    }
    assert len(server.points[NAME, "acme/public"]) == 24


def settled(server: FakeServer, kb: KnowledgeBase) -> None:
    """Take steps until nothing is left."""
    for _ in range(50):
        found = plan(kb, Known(server.seen(policy.subject(kb))))
        if not found.steps and not found.more:
            return
        for step in found.steps:
            assert server.take("url", step) == Known(None)
    raise AssertionError("not settled")


# ------------------------------------------------------------------------------------------------ any order of events


ACTS = ("write", "drop collection", "drop alias", "drop key", "drop index", "change", "foreign key", "half a pass")


@settings(deadline=None, max_examples=200)
@given(acts=st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 3), st.booleans()), max_size=12))
def test_whatever_happens_in_between_the_end_is_the_same_and_no_document_is_lost(
    acts: list[tuple[str, int, bool]],
) -> None:
    server, expected = FakeServer(), set[str]()
    settled(server, KB)
    for act, number, dedicated in acts:
        if act == "half a pass":
            kb = DEDICATED if dedicated else KB
            for step in plan(kb, Known(server.seen(policy.subject(kb)))).steps[:number]:
                server.take("url", step)
            assert _documents(server) == expected
        else:
            _interfere(server, act, number)
            expected = _documents(server)
    for kb in (DEDICATED, KB, DEDICATED):
        _resync(server)
        settled(server, kb)
        assert _documents(server) == expected
    assert verdict(DEDICATED, Known(server.seen(policy.subject(DEDICATED))))[0] == "True"
    assert plan(DEDICATED, Known(server.seen(policy.subject(DEDICATED)))) == policy.StorePlan()


def _documents(server: FakeServer) -> set[str]:
    return {point.document for points in server.points.values() for point in points.values() if point.record}


def _interfere(server: FakeServer, act: str, number: int) -> None:
    """Do what other people do, where it is possible."""
    found = server.collections.get(NAME)
    if found is None:
        return
    keys = sorted(found.keys)
    match act:
        case "write" if found.answers(FALLBACK_SHARD_KEY):
            server.write(NAME, ("acme", "other")[number % 2], "public", number, by="TenantAndAccessLevel")
        case "drop collection" if number == 0:
            server.drop(NAME)
        case "drop alias" if ALIAS in server.aliases:
            server.point_alias(ALIAS, None)
        case "drop key" if keys and keys[number % len(keys)] != FALLBACK_SHARD_KEY:
            server.finish()
            server.drop_key(NAME, keys[number % len(keys)])
        case "drop index" if found.indexes:
            server.drop_index(NAME, found.indexes[number % len(found.indexes)].field)
        case "change":
            server.change(NAME, m=number, strict=False)
        case "foreign key" if "acme/public" not in keys:
            server.add_key(NAME, "acme/public")


def _resync(server: FakeServer) -> None:
    """Write what lies in the fallback only once more, as workers do in a full resync: what the status asks for."""
    found = server.collections.get(NAME)
    if found is not None and found.answers("acme/public"):
        left = server.points[NAME, FALLBACK_SHARD_KEY]
        server.points[NAME, "acme/public"] |= {id_: each for id_, each in left.items() if each.belongs(ACME)}
