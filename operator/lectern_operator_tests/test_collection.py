"""What is planned for the collection of a knowledge base, and what its status says: one row a situation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lectern_contract import collection as contract
from lectern_contract.collection import FALLBACK_SHARD_KEY, MAX_SHARD_KEYS
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import Reason
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import Denied, Unauthorised
from lectern_operator.facts.vector_store import (
    CreateCollection,
    CreateIndexes,
    CreateShardKeys,
    Rejected,
    SetAlias,
    StoreState,
    Unreachable,
)
from lectern_operator.policies import collection as policy
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
    store,
    verdict,
    with_key,
)

NOT_MEASURED = Unknown("http://embedder does not answer")


@pytest.mark.parametrize(
    ("kb", "seen", "dimensions"),
    [
        (KB, Unreachable("silent"), Known(384)),
        (KB, store(None, None), NOT_MEASURED),
        (KB, store(complete(settings=replace(complete().settings, m=4)), None), NOT_MEASURED),
        (worlds.knowledge_base(suspend=True), store(None, None), Known(384)),
        (worlds.knowledge_base(vectorStore=None), store(None, None), Known(384)),
    ],
    ids=["store unread", "never measured", "not measured now", "suspended", "no store"],
)
def test_nothing_is_planned_from_what_is_not_known_or_not_wanted(
    kb: KnowledgeBase, seen: Fact[StoreState], dimensions: Fact[int]
) -> None:
    assert plan(kb, seen, dimensions) == policy.StorePlan()


def test_a_collection_as_it_has_to_be_needs_nothing() -> None:
    assert plan(DEDICATED, store(complete(DEDICATED))) == policy.StorePlan()
    told = f"{NAME} behind {ALIAS}: vectors of length 384, 1 partitions with shards of their own"
    assert verdict(DEDICATED, store(complete(DEDICATED))) == ("True", Reason.COLLECTION_EXISTS, told)


def test_a_new_collection_is_reachable_only_when_it_is_whole() -> None:
    wanted = contract.collection(DEDICATED, generation=1, dimensions=384)
    assert plan(DEDICATED, store(None, None)) == policy.StorePlan(
        (
            CreateCollection(wanted),
            CreateIndexes(NAME, wanted.indexes),
            CreateShardKeys(NAME, (ACME, contract.fallback())),
            SetAlias(ALIAS, NAME),
        )
    )


# ------------------------------------------------------------------------------------------------------ verdicts


@pytest.mark.parametrize(
    ("seen", "status", "reason", "message"),
    [
        (Unreachable("http://qdrant keeps silent"), "False", Reason.VECTOR_STORE_UNREACHABLE, "it is asked again"),
        (Unauthorised("refused"), "False", Reason.CREDENTIALS_REJECTED, "check spec.vectorStore.apiKeySecretRef"),
        (Denied("no right"), "False", Reason.ACCESS_DENIED, "may manage collections, aliases and shard keys"),
        (Unknown("Secret qdrant does not exist"), "Unknown", Reason.WAITING, "Secret qdrant does not exist"),
        (store(None, None), "False", Reason.PROGRESSING, f"{NAME} does not exist yet"),
        (store(complete(), None), "False", Reason.PROGRESSING, f"the alias {ALIAS} does not exist yet"),
        (store(complete(owner=None)), "False", Reason.COLLECTION_TAKEN, f"collection {NAME} exists and is not ours"),
        (
            store(complete(owner=replace(complete().owner, knowledge_base="other"))),  # type: ignore[type-var]
            "False",
            Reason.COLLECTION_TAKEN,
            "give the KnowledgeBase another name",
        ),
        (
            store(complete(owner=replace(complete().owner, index_identity="other"))),  # type: ignore[type-var]
            "False",
            Reason.COLLECTION_CHANGED,
            "an index made for other settings of embedding, sparse, chunking or partitioning.shardBy: undo the change",
        ),
        (
            store(complete(shape=replace(complete().shape, dimensions=768, distance="Dot", sparse=False))),
            "False",
            Reason.COLLECTION_CHANGED,
            f"{NAME} has vectors of length 768, not 384, distance Dot, not Cosine, no vector for terms: undo",
        ),
        (
            store(complete(shape=replace(complete().shape, custom_sharding=False))),
            "False",
            Reason.COLLECTION_CHANGED,
            "shards that are not made by key",
        ),
        (
            store(complete(settings=replace(complete().settings, on_disk=True, ef_construct=8))),
            "False",
            Reason.PROGRESSING,
            f"settings of {NAME} are being put right: hnsw.efConstruct, onDisk",
        ),
        (
            store(complete(indexes=complete().indexes[1:])),
            "False",
            Reason.PROGRESSING,
            f"indexes of {NAME} are being made: access_level",
        ),
        (store(complete(keys={})), "False", Reason.PROGRESSING, f"0 of 1 shard keys of {NAME} are made"),
        (
            store(with_key(complete(), FALLBACK_SHARD_KEY, shard(1, "Initializing"))),
            "False",
            Reason.PROGRESSING,
            f"shard key {FALLBACK_SHARD_KEY} of {NAME} does not answer yet",
        ),
        (
            store(with_key(complete(), FALLBACK_SHARD_KEY, shard(1, "Dead", "Dead"))),
            "False",
            Reason.COMPONENT_NOT_READY,
            "a node of Qdrant is away; start it again",
        ),
        (store(complete(status="red")), "False", Reason.COMPONENT_NOT_READY, f"Qdrant reports {NAME} as red"),
        (
            store(with_key(complete(), FALLBACK_SHARD_KEY, shard(1, "Active"), shard(2, "Active"))),
            "False",
            Reason.COLLECTION_CHANGED,
            "has 2 shards, not 1: no partition can be moved out of it",
        ),
    ],
)
def test_verdict(seen: Fact[StoreState], status: str, reason: Reason, message: str) -> None:
    found = verdict(KB, seen)
    assert found[:2] == (status, reason)
    assert message in found[2]


def test_a_collection_that_stands_is_judged_without_the_embedder() -> None:
    assert verdict(KB, store(complete()), NOT_MEASURED)[0] == "True"
    waiting = verdict(KB, store(complete(indexes=())), NOT_MEASURED)
    assert waiting[:2] == ("False", Reason.WAITING)
    assert waiting[2].endswith("once vectors can be measured: http://embedder does not answer")


def test_a_collection_that_is_missing_waits_for_the_embedder() -> None:
    told = f"{NAME} is made once its vectors have been measured: http://embedder does not answer"
    assert verdict(KB, store(None, None), NOT_MEASURED) == ("False", Reason.WAITING, told)


def test_a_foreign_collection_is_told_before_the_embedder_answers() -> None:
    foreign = complete(owner=None, shape=replace(complete().shape, dimensions=None))
    assert verdict(KB, store(foreign), NOT_MEASURED)[1] == Reason.COLLECTION_TAKEN


def test_suspend_is_told_only_where_it_keeps_something_from_being_done() -> None:
    suspended = worlds.knowledge_base(suspend=True)
    assert verdict(suspended, store(None, None))[1] == Reason.SUSPENDED
    assert verdict(suspended, store(complete(), None))[1] == Reason.SUSPENDED
    assert verdict(suspended, store(complete()))[0] == "True"


def test_a_step_that_was_refused_is_told_in_the_servers_words() -> None:
    refused = Rejected("http://qdrant refuses: no room left (HTTP 400)")
    told = ("False", Reason.APPLY_REFUSED, "http://qdrant refuses: no room left (HTTP 400)")
    assert verdict(KB, store(None, None), failures=(refused,)) == told


def test_an_alias_on_another_generation_of_ours_is_told_and_left() -> None:
    other = complete(owner=contract.owner(KB, 2), name="team.docs.g2")
    seen = Known(StoreState({NAME: complete(), "team.docs.g2": other}, {ALIAS: "team.docs.g2"}))
    assert plan(KB, seen) == policy.StorePlan()
    told = f"the alias {ALIAS} stands for team.docs.g2, not for {NAME}: set it back, or delete it, it is made anew"
    assert verdict(KB, seen) == ("False", Reason.COLLECTION_CHANGED, told)


@pytest.mark.parametrize("levels", [1, 2])
def test_more_keys_than_a_collection_takes_are_refused_and_nothing_is_changed(levels: int) -> None:
    spec = {"tenants": MANY, "accessLevels": ["public", "staff"][:levels]}
    kb = worlds.knowledge_base(partitioning=spec)
    found = verdict(kb, store(None, None))
    assert (found[1] == Reason.INVALID_SPEC) == (levels * len(MANY) > MAX_SHARD_KEYS)
    assert bool(plan(kb, store(None, None)).steps) == (levels == 1)
    assert len(policy.subject(kb).keys) == (1000 if levels == 1 else 0)


def test_deletion_waits_while_the_store_is_unread() -> None:
    kb = worlds.knowledge_base(deletionPolicy="Delete")
    assert policy.deletion(kb, store=Unreachable("silent")) == Unreachable("silent")
    assert policy.deletion(KB, store=Unreachable("silent")) == Known(())
