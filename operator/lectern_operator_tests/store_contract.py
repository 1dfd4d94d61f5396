"""What the operator relies on in a Qdrant server, as tests that the double in memory and one over HTTP both pass.

A subclass offers the fixture `stage`: `test_collection_fake` and `e2e/operator_tests/test_vector_store.py` do.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from lectern_contract import collection as contract
from lectern_contract import names
from lectern_contract.collection import FALLBACK_SHARD_KEY, Index, ShardKey
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import Reason
from lectern_contract.resources.status import DocumentCounts, PartitionState, SourceDocuments
from lectern_operator.clients.qdrant import StoreServer
from lectern_operator.facts import Known, Unknown
from lectern_operator.facts.outside import Unauthorised
from lectern_operator.facts.vector_store import (
    ChangeSettings,
    CopyPartition,
    CreateCollection,
    CreateIndexes,
    CreateShardKeys,
    DeleteAlias,
    DeleteCollection,
    DeleteCopies,
    PreparePartition,
    Rejected,
    SetAlias,
    StoreState,
    Unreachable,
)
from lectern_operator.policies import collection as policy
from lectern_operator_tests import worlds
from lectern_operator_tests.store_stage import (
    ACME,
    DIMENSIONS,
    Stage,
    alias,
    altered,
    first,
    judged,
    knowledge_base,
    look,
    placements,
    planned,
    renamed,
    settle,
)


class StoreContract:
    """The tests."""

    async def test_a_missing_collection_is_made_as_it_has_to_be(self, stage: Stage) -> None:
        kb = knowledge_base(partitioning__tenants=[ACME], partitioning__accessLevels=["public", "staff"])
        wanted = contract.collection(kb, generation=1, dimensions=384)
        assert await settle(stage, kb) == [
            CreateCollection(wanted),
            CreateIndexes(wanted.name, wanted.indexes),
            CreateShardKeys(wanted.name, contract.shard_keys(kb)),
            SetAlias(wanted.alias, wanted.name),
        ]
        state = await look(stage, kb)
        found = state.collections[wanted.name]
        assert (found.owner, found.shape, found.settings) == (wanted.owner, wanted.shape, wanted.settings)
        assert found.indexes == wanted.indexes
        assert sorted(found.keys) == [FALLBACK_SHARD_KEY, "acme/public", "acme/staff"]
        assert all(found.answers(key) for key in found.keys)
        assert state.aliases == {wanted.alias: wanted.name}
        assert (await judged(stage, kb))[:2] == ("True", Reason.COLLECTION_EXISTS)

    async def test_looking_makes_nothing(self, stage: Stage) -> None:
        kb = knowledge_base()
        assert [await look(stage, kb) for _ in range(2)] == [StoreState(), StoreState()]

    async def test_a_crash_after_any_step_and_a_step_taken_twice_end_the_same(self, stage: Stage) -> None:
        kb = knowledge_base(partitioning__tenants=[ACME])
        await settle(stage, kb, times=2, one_by_one=True)
        assert (await judged(stage, kb))[1] == Reason.COLLECTION_EXISTS

    @pytest.mark.parametrize("quantization", ["None", "Scalar", "Binary"])
    async def test_what_was_set_is_what_is_seen(self, stage: Stage, quantization: str) -> None:
        store = {
            "url": "http://qdrant:6333",
            "quantization": quantization,
            "onDisk": quantization != "None",
            "hnsw": {"m": 0, "efConstruct": 64},
            "filterableFields": [
                {"name": name, "type": name} for name in ("Boolean", "DateTime", "Integer", "Keyword")
            ],
        }
        kb = knowledge_base(vectorStore=store)
        await settle(stage, kb)
        found = (await look(stage, kb)).collections[first(kb)]
        wanted = contract.collection(kb, generation=1, dimensions=384)
        assert (found.settings, found.indexes) == (wanted.settings, wanted.indexes)

    async def test_changed_settings_are_put_right_in_place(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        await stage.write(first(kb), kb, "acme", "public", 2)
        store = {"url": "http://qdrant:6333", "onDisk": True, "quantization": "Scalar", "hnsw": {"m": 32}}
        changed = altered(kb, vectorStore=store)
        wanted = contract.collection(changed, generation=1, dimensions=384)
        assert await settle(stage, changed) == [ChangeSettings(wanted.name, wanted.shape, wanted.settings)]
        assert [type(step) for step in await settle(stage, kb)] == [ChangeSettings]
        assert await stage.points(first(kb), FALLBACK_SHARD_KEY) == 4

    async def test_settings_that_somebody_changed_are_put_right(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        await stage.tune(first(kb))
        status, reason, message = await judged(stage, kb)
        assert (status, reason) == ("False", Reason.PROGRESSING)
        assert message == (
            f"settings of {first(kb)} are being put right: hnsw.m, links among a tenant's points, quantization, "
            "strict mode"
        )
        assert [type(step) for step in await settle(stage, kb)] == [ChangeSettings]
        assert (await judged(stage, kb))[0] == "True"

    async def test_lost_and_wrong_indexes_are_made_again_and_others_are_left(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        theirs = Index("metadata.theirs", "integer")
        await stage.drop_index(first(kb), "document_id")
        await stage.put_index(first(kb), Index("source", "integer"))
        await stage.put_index(first(kb), Index("tenant", "keyword"))
        await stage.put_index(first(kb), theirs)
        wanted = {each.field: each for each in contract.collection(kb, generation=1, dimensions=384).indexes}
        missing = tuple(wanted[field] for field in ("document_id", "source", "tenant"))
        assert await settle(stage, kb) == [CreateIndexes(first(kb), missing)]
        assert theirs in (await look(stage, kb)).collections[first(kb)].indexes

    async def test_a_lost_alias_is_made_again(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        await stage.point_alias(alias(kb), None)
        assert await settle(stage, kb) == [SetAlias(alias(kb), first(kb))]

    async def test_a_lost_collection_is_made_again(self, stage: Stage) -> None:
        kb = knowledge_base()
        steps = await settle(stage, kb)
        await stage.drop(first(kb))
        assert await settle(stage, kb) == steps

    async def test_a_collection_of_somebody_else_is_left_as_it_is(self, stage: Stage) -> None:
        kb = knowledge_base(deletionPolicy="Delete")
        await stage.make(first(kb))
        assert await settle(stage, kb) == []
        status, reason, message = await judged(stage, kb)
        assert (status, reason) == ("False", Reason.COLLECTION_TAKEN)
        assert message.startswith(f"collection {first(kb)} exists and is not ours by its metadata")
        assert policy.deletion(kb, store=Known(await look(stage, kb))) == Known(())

    async def test_an_alias_of_somebody_else_is_left_as_it_is(self, stage: Stage) -> None:
        kb, theirs = knowledge_base(), f"theirs-{uuid.uuid4().hex[:8]}"
        await stage.make(theirs)
        await stage.point_alias(alias(kb), theirs)
        assert await settle(stage, kb) == []
        assert (await judged(stage, kb))[1] == Reason.COLLECTION_TAKEN
        assert (await look(stage, kb)).aliases == {alias(kb): theirs}
        await stage.drop(theirs)

    @pytest.mark.parametrize("which", [first, alias])
    async def test_names_that_are_taken_the_other_way_round_are_told(
        self, stage: Stage, which: Callable[[KnowledgeBase], str]
    ) -> None:
        kb, theirs = knowledge_base(), f"theirs-{uuid.uuid4().hex[:8]}"
        await stage.make(theirs if which is first else alias(kb))
        if which is first:
            await stage.point_alias(first(kb), theirs)
        assert await settle(stage, kb) == []
        assert (await judged(stage, kb))[1] == Reason.COLLECTION_TAKEN
        await stage.drop(theirs if which is first else alias(kb))

    async def test_another_vector_length_is_told_and_nothing_is_lost(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        await stage.write(first(kb), kb, "acme", "public", 3)
        other = altered(kb, embedding__dimensions=768)
        plan = policy.plan(other, generation=1, dimensions=Known(768), store=Known(await look(stage, other)))
        assert plan == policy.StorePlan()
        found = policy.verdict(other, generation=1, dimensions=Known(768), store=Known(await look(stage, other)))
        assert (found.status, found.reason) == ("False", Reason.COLLECTION_CHANGED)
        assert found.message.startswith(f"{first(kb)} has vectors of length 384, not 768, an index made for other")
        assert await stage.points(first(kb), FALLBACK_SHARD_KEY) == 6

    @pytest.mark.parametrize(("times", "one_by_one"), [(1, False), (2, False), (1, True), (2, True)])
    async def test_a_tenant_that_gets_shards_of_its_own_takes_its_points_along(
        self, stage: Stage, times: int, one_by_one: bool
    ) -> None:
        kb = knowledge_base(partitioning__accessLevels=["public", "staff"])
        await settle(stage, kb)
        for tenant, level, documents in (("acme", "public", 5), ("acme", "staff", 2), ("other", "public", 3)):
            await stage.write(first(kb), kb, tenant, level, documents)
        promoted = altered(kb, partitioning__accessLevels=["public", "staff"], partitioning__tenants=[ACME])
        own = [ShardKey("acme/public", "acme", "public"), ShardKey("acme/staff", "acme", "staff")]
        steps = await settle(stage, promoted, times=times, one_by_one=one_by_one)
        owner = contract.owner(kb, 1)
        if not one_by_one:
            assert steps == [
                PreparePartition(first(kb), own[0]),
                CopyPartition(first(kb), own[0]),
                DeleteCopies(first(kb), owner, own[0]),
                PreparePartition(first(kb), own[1]),
                CopyPartition(first(kb), own[1]),
                DeleteCopies(first(kb), owner, own[1]),
            ]
        places = [await stage.points(first(kb), key) for key in ("acme/public", "acme/staff", FALLBACK_SHARD_KEY)]
        assert places == [10, 4, 6]
        assert (await judged(stage, promoted))[0] == "True"
        assert await placements(stage, promoted) == tuple(
            PartitionState(name=each.key, shard_key=each.key, placement="Dedicated") for each in own
        )

    async def test_a_partition_by_tenant_alone_moves_with_all_its_levels(self, stage: Stage) -> None:
        spec = {"shardBy": "Tenant", "accessLevels": ["public", "staff"]}
        kb = knowledge_base(partitioning=spec)
        await settle(stage, kb)
        await stage.write(first(kb), kb, "acme", "public", 2)
        await stage.write(first(kb), kb, "acme", "staff", 2)
        promoted = altered(kb, partitioning={**spec, "tenants": [ACME]})
        assert [type(step) for step in await settle(stage, promoted)] == [PreparePartition, CopyPartition, DeleteCopies]
        assert await stage.points(first(kb), "acme") == 8
        assert await stage.points(first(kb), FALLBACK_SHARD_KEY) == 0

    async def test_a_partition_that_has_grown_gets_shards_of_its_own(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("clients.qdrant_reading", "policies.partitions"):
            monkeypatch.setattr(f"lectern_operator.{module}.GROWN_POINTS", 20)
        monkeypatch.setattr("lectern_operator_tests.fake_vector_store.GROWN_POINTS", 20)
        kb = knowledge_base()
        await settle(stage, kb)
        await stage.write(first(kb), kb, "small", "public", 9)
        await stage.write(first(kb), kb, "grown", "public", 10)
        assert (await judged(stage, kb))[0] == "True"
        steps = await settle(stage, kb)
        assert [type(step) for step in steps] == [PreparePartition, CopyPartition, DeleteCopies]
        assert await stage.points(first(kb), "grown/public") == 20
        assert await stage.points(first(kb), FALLBACK_SHARD_KEY) == 18

    async def test_documents_that_come_during_a_move_are_not_lost(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        await stage.write(first(kb), kb, "acme", "public", 5)
        promoted = altered(kb, partitioning__tenants=[ACME])
        for step in (await planned(stage, promoted)).steps:
            assert await stage.stores.perform(stage.server, step) == Known(None)
        await stage.arrive()
        await stage.write(first(kb), kb, "acme", "public", 1)
        assert [type(step) for step in await settle(stage, promoted)] == [DeleteCopies]
        assert await stage.points(first(kb), "acme/public") == 12

    async def test_a_key_that_somebody_made_empty_does_not_cost_the_points_in_the_fallback(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        await stage.write(first(kb), kb, "acme", "public", 3)
        await stage.add_key(first(kb), "acme/public")
        promoted = altered(kb, partitioning__tenants=[ACME])
        assert await settle(stage, promoted) == []
        status, reason, message = await judged(stage, promoted)
        assert (status, reason) == ("False", Reason.COLLECTION_CHANGED)
        assert "it holds 0 of 3 documents" in message
        forced = DeleteCopies(first(kb), contract.owner(kb, 1), ShardKey("acme/public", "acme", "public"))
        assert isinstance(await stage.stores.perform(stage.server, forced), Rejected)
        await stage.drop_key(first(kb), "acme/public")
        await settle(stage, promoted)
        assert await stage.points(first(kb), "acme/public") == 6

    async def test_documents_that_lie_in_the_fallback_only_stay_there_even_when_numbers_agree(
        self, stage: Stage
    ) -> None:
        kb = knowledge_base(partitioning__accessLevels=["public", "staff"])
        await settle(stage, kb)
        await stage.write(first(kb), kb, "acme", "public", 3)
        await stage.add_key(first(kb), "acme/public")
        await stage.write(first(kb), kb, "acme", "public", 3)
        (step,) = (await planned(stage, kb)).steps
        assert isinstance(step, DeleteCopies)
        refused = await stage.stores.perform(stage.server, step)
        assert isinstance(refused, Rejected)
        assert "acme/public" in refused.reason
        assert await stage.points(first(kb), FALLBACK_SHARD_KEY) == 6

    async def test_documents_are_counted_once_wherever_they_lie(self, stage: Stage) -> None:
        kb = knowledge_base(partitioning__tenants=[ACME])
        await settle(stage, kb)
        await stage.write(first(kb), kb, "acme", "public", 3)
        await stage.write(first(kb), kb, "other", "public", 4)
        found = (await look(stage, kb)).collections[first(kb)]
        assert await stage.stores.documents(stage.server, found) == Known(DocumentCounts(indexed=7, failed=0))

    async def test_documents_are_counted_by_source_with_the_reason_of_those_that_failed(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        found = (await look(stage, kb)).collections[first(kb)]
        assert await stage.stores.by_source(stage.server, found) == Known(())
        await stage.write(first(kb), kb, "acme", "public", 3)
        await stage.write(
            first(kb), kb, "other", "public", 2, source="wiki", failure="Encrypted: it asks for a password"
        )
        await stage.write(first(kb), kb, "acme", "public", 1, source="wiki")
        told = (
            SourceDocuments(name="guides", indexed=3),
            SourceDocuments(name="wiki", indexed=1, failed=2, last_reason="Encrypted"),
        )
        assert await stage.stores.by_source(stage.server, found) == Known(told)
        assert await stage.stores.documents(stage.server, found) == Known(DocumentCounts(indexed=4, failed=2))

    async def test_documents_that_lie_in_two_places_are_not_counted(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        await stage.write(first(kb), kb, "acme", "public", 3)
        promoted = altered(kb, partitioning__tenants=[ACME])
        for step in (await planned(stage, promoted)).steps:
            assert await stage.stores.perform(stage.server, step) == Known(None)
        await stage.arrive()
        found = (await look(stage, promoted)).collections[first(kb)]
        assert isinstance(await stage.stores.documents(stage.server, found), Unknown)
        assert isinstance(await stage.stores.by_source(stage.server, found), Unknown)

    async def test_everything_of_ours_is_deleted_and_a_second_time_nothing_happens(self, stage: Stage) -> None:
        kb = knowledge_base(deletionPolicy="Delete")
        await settle(stage, kb)
        other = renamed(kb, f"{kb.name}-2")
        await settle(stage, other)
        expected = Known((DeleteAlias(alias(kb), first(kb)), DeleteCollection(first(kb), contract.owner(kb, 1))))
        assert policy.deletion(kb, store=Known(await look(stage, kb))) == expected
        for step in (*expected.value, *expected.value):
            assert await stage.stores.perform(stage.server, step) == Known(None)
        assert await look(stage, kb) == StoreState()
        assert (await judged(stage, other))[0] == "True"

    async def test_a_collection_that_is_somebody_elses_meanwhile_is_not_deleted(self, stage: Stage) -> None:
        kb = knowledge_base()
        await settle(stage, kb)
        stranger = replace(contract.owner(kb, 1), index_identity="other")
        assert await stage.stores.perform(stage.server, DeleteCollection(first(kb), stranger)) == Known(None)
        assert await stage.exists(first(kb))

    async def test_an_alias_that_moved_meanwhile_is_not_taken_back(self, stage: Stage) -> None:
        kb, theirs = knowledge_base(), f"theirs-{uuid.uuid4().hex[:8]}"
        await settle(stage, kb)
        await stage.make(theirs)
        await stage.point_alias(alias(kb), theirs)
        assert isinstance(await stage.stores.perform(stage.server, SetAlias(alias(kb), first(kb))), Rejected)
        assert await stage.stores.perform(stage.server, DeleteAlias(alias(kb), first(kb))) == Known(None)
        assert (await look(stage, kb)).aliases == {alias(kb): theirs}
        await stage.drop(theirs)

    async def test_points_are_not_copied_to_a_key_that_is_not_there_or_answers(self, stage: Stage) -> None:
        kb = knowledge_base(partitioning__tenants=[ACME])
        await settle(stage, kb)
        await stage.write(first(kb), kb, "other", "public", 2)
        missing = CopyPartition(first(kb), ShardKey("none/public", "none", "public"))
        assert isinstance(await stage.stores.perform(stage.server, missing), Rejected)
        answering = CopyPartition(first(kb), ShardKey("acme/public", "other", "public"))
        assert await stage.stores.perform(stage.server, answering) == Known(None)
        await stage.arrive()
        assert await stage.points(first(kb), "acme/public") == 0

    async def test_the_next_generation_is_made_beside_and_the_alias_moves_when_told(self, stage: Stage) -> None:
        kb = knowledge_base(deletionPolicy="Delete")
        await settle(stage, kb)
        plan = policy.plan(kb, generation=2, dimensions=DIMENSIONS, store=Known(await look(stage, kb)))
        assert [type(step) for step in plan.steps] == [CreateCollection, CreateIndexes, CreateShardKeys]
        for step in plan.steps:
            assert await stage.stores.perform(stage.server, step) == Known(None)
        state = Known(await look(stage, kb))
        assert policy.plan(kb, generation=2, dimensions=DIMENSIONS, store=state) == policy.StorePlan()
        second = names.collection(kb.namespace, kb.name, 2)
        move = policy.plan(kb, generation=2, dimensions=DIMENSIONS, store=state, activate=True)
        assert move.steps == (SetAlias(alias(kb), second, first(kb)),)
        assert await stage.stores.perform(stage.server, move.steps[0]) == Known(None)
        state = Known(await look(stage, kb))
        assert state.value.aliases == {alias(kb): second}
        left = policy.deletion(kb, store=state)
        assert isinstance(left, Known)
        for step in left.value:
            assert await stage.stores.perform(stage.server, step) == Known(None)
        assert await look(stage, kb) == StoreState()

    async def test_names_at_the_limit_of_their_length_are_taken(self, stage: Stage) -> None:
        part = "A" + "b.c_d-" * 10 + "ef"
        assert len(part) == 63
        kb = renamed(
            worlds.knowledge_base(
                partitioning={"accessLevels": [part], "tenants": [{"name": part, "dedicated": True}]},
                vectorStore__filterableFields=[{"name": "f" * 63}],
            ),
            f"{uuid.uuid4().hex[:8]}".replace("0", "a").rjust(40, "k"),
        )
        kb = kb.model_copy(update={"metadata": kb.metadata.model_copy(update={"namespace": "n" * 63})})
        assert len(kb.name) == 40
        await settle(stage, kb)
        await stage.write(first(kb), kb, part, part, 2)
        assert await stage.points(first(kb), f"{part}/{part}") == 4
        assert (await judged(stage, kb))[0] == "True"

    async def test_a_wrong_key_is_told_as_such_and_kept_silent_about(self, stage: Stage) -> None:
        kb = knowledge_base()
        refused = await stage.stores.look(stage.refused, policy.subject(kb))
        assert type(refused) is Unauthorised
        assert stage.refused.api_key is not None
        assert stage.refused.api_key not in repr(refused) + repr(stage.refused)
        assert type(await stage.stores.perform(stage.refused, DeleteAlias(alias(kb), first(kb)))) is Unauthorised

    async def test_an_address_where_nobody_listens_is_unreachable(self, stage: Stage) -> None:
        nobody = await stage.stores.look(StoreServer("http://127.0.0.1:1"), policy.subject(knowledge_base()))
        assert type(nobody) is Unreachable
