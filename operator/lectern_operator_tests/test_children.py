"""Reads and writes of a pass: all reads to their end, and no write that what really is would forbid."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from lectern_contract import labels, names
from lectern_operator.clients.errors import NotServed, Outdated, Refused
from lectern_operator.facts import Known
from lectern_operator.policies.changes import Changes, Key, changes, key
from lectern_operator.reconcilers import children
from lectern_operator_tests import passes, worlds
from lectern_operator_tests.cluster_contract import config_map
from lectern_operator_tests.fake_cluster import FakeCluster, Manifest

UID = "uid-kb"
NOTES = ("ConfigMap", "notes")
PAUSED = {"metadata": {"annotations": {names.PAUSED: "true"}}}


async def test_an_error_of_one_read_leaves_no_other_behind() -> None:
    ended: list[str] = []

    async def read(name: str, seconds: float, *, fails: bool) -> str:
        await asyncio.sleep(seconds)
        ended.append(name)
        if fails:
            raise NotServed(name)
        return name

    with pytest.raises(NotServed, match="quick"):
        await children.together(read("quick", 0, fails=True), read("slow", 0.02, fails=True))
    assert ended == ["quick", "slow"]
    assert await children.together(read("a", 0.01, fails=False), read("b", 0, fails=False)) == ["a", "b"]


async def test_a_kind_that_is_not_served_is_a_fact() -> None:
    world = passes.world(FakeCluster(keda=False))
    found = await children.listed_if_served(worlds.knowledge_base(), world, "ScaledObject", "TriggerAuthentication")
    assert found == ({}, Known(value=False))


class Pass:
    """One pass over the knowledge base of the tests, which wants the ConfigMap `notes`."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.kb = self.cluster.put(worlds.KNOWLEDGE_BASE)
        self.wanted: list[Manifest] = [config_map(self.kb, a="1")]

    async def observed(self) -> dict[Key, Manifest]:
        """Return the children as they are now."""
        return await children.listed(worlds.knowledge_base(), passes.world(self.cluster), *self.kinds())

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of children that there are."""
        return ("ConfigMap", "CronJob", "Deployment", "Job", "Pod", "Secret")

    async def write(self, observed: dict[Key, Manifest], *, keep: frozenset[Key] = frozenset()) -> children.Applied:
        """Write what `observed` lacks, and prune what it has too much."""
        steps = changes(self.wanted, observed, uid=UID, keep=keep)
        return await children.write(steps, observed, UID, passes.world(self.cluster))

    def made(self, manifest: Manifest, **status: Any) -> Manifest:
        """Put a child there, as its controller would have it."""
        return self.cluster.put({**manifest, "status": status})


async def test_a_child_that_is_missing_is_made_by_one_request() -> None:
    one = Pass()
    applied = await one.write({})
    assert applied.written == {NOTES}
    assert one.cluster.gets == []


async def test_a_child_that_is_there_after_all_is_compared_and_not_made_again() -> None:
    one = Pass()
    there = await one.cluster.apply(config_map(one.kb, a="1"))
    writes = len(one.cluster.writes)
    applied = await one.write({})
    assert (applied.written, len(one.cluster.writes)) == (frozenset(), writes)
    assert applied.children[NOTES]["metadata"]["uid"] == there["metadata"]["uid"]


async def test_a_child_that_is_there_after_all_and_differs_is_mended() -> None:
    one = Pass()
    there = await one.cluster.apply(config_map(one.kb, a="9"))
    applied = await one.write({})
    assert applied.written == {NOTES}
    assert (applied.children[NOTES]["metadata"]["uid"], applied.children[NOTES]["data"]) == (
        there["metadata"]["uid"],
        {"a": "1"},
    )


async def test_a_child_that_went_since_it_was_observed_is_made_again() -> None:
    one = Pass()
    await one.cluster.apply(config_map(one.kb, a="9"))
    observed = await one.observed()
    one.cluster.remove(*NOTES)
    applied = await one.write(observed)
    assert applied.children[NOTES]["data"] == {"a": "1"}
    assert applied.children[NOTES]["metadata"]["uid"] != observed[NOTES]["metadata"]["uid"]


async def test_an_object_of_somebody_else_is_refused_also_in_the_place_of_ours() -> None:
    one = Pass()
    await one.cluster.apply(config_map(one.kb, a="9"))
    observed = await one.observed()
    one.cluster.remove(*NOTES)
    one.cluster.put({"kind": "ConfigMap", "metadata": {"name": "notes", "namespace": "team"}, "data": {"theirs": "1"}})
    applied = await one.write(observed)
    assert [str(each) for each in applied.refusals] == [
        "ConfigMap notes exists already and is not ours: delete it, or give the resource another name"
    ]
    assert one.cluster.objects["ConfigMap", "team", "notes"]["data"] == {"theirs": "1"}


async def test_a_copied_label_makes_nothing_ours() -> None:
    one = Pass()
    copied = config_map(one.kb, a="1")
    del copied["metadata"]["ownerReferences"]
    one.cluster.put(copied)
    assert await one.observed() == {}
    assert (await one.write({})).refusals


async def test_a_child_of_the_resource_that_had_our_name_before_goes_first() -> None:
    one = Pass()
    before = config_map({**one.kb, "metadata": {**one.kb["metadata"], "uid": "former"}}, a="1")
    one.cluster.put(before)
    with pytest.raises(Outdated, match="goes with it first"):
        await one.write({})


async def test_a_child_that_lost_its_owner_reference_is_taken_back() -> None:
    one = Pass()
    await one.write({})
    one.cluster.edit(*NOTES, {"metadata": {"ownerReferences": None}})
    applied = await one.write(await one.observed())
    assert applied.children[NOTES]["metadata"]["ownerReferences"][0]["uid"] == UID


async def test_a_secret_is_looked_for_before_it_is_made() -> None:
    one = Pass()
    secret = {**config_map(one.kb), "kind": "Secret"}
    one.wanted = [secret]
    assert (await one.write({})).written == {("Secret", "notes")}
    assert (await one.write({})).written == frozenset()
    assert one.cluster.gets == [("Secret", "notes")] * 2


async def test_a_paused_child_is_neither_written_nor_deleted_and_is_told() -> None:
    one = Pass()
    for name in ("notes", "surplus"):
        await one.cluster.apply(config_map(one.kb, name, a="9"))
        one.cluster.edit("ConfigMap", name, PAUSED)
    before, gets = copy.deepcopy(one.cluster.objects), len(one.cluster.gets)
    applied = await one.write(await one.observed())
    assert applied.written == frozenset()
    assert applied.paused == {NOTES, ("ConfigMap", "surplus")}
    assert (one.cluster.objects, len(one.cluster.gets)) == (before, gets)


async def test_a_child_that_was_paused_since_it_was_observed_stays() -> None:
    one = Pass()
    await one.write({})
    await one.cluster.apply(config_map(one.kb, "surplus", a="9"))
    observed = await one.observed()
    one.cluster.edit("ConfigMap", "surplus", PAUSED)
    applied = await one.write(observed)
    assert applied.paused == {("ConfigMap", "surplus")}
    assert ("ConfigMap", "team", "surplus") in one.cluster.objects


@pytest.mark.parametrize("change", ["gone", "replaced", "given away"])
async def test_what_is_not_what_was_observed_is_not_deleted(change: str) -> None:
    one = Pass()
    await one.write({})
    await one.cluster.apply(config_map(one.kb, "surplus", a="9"))
    observed = await one.observed()
    if change == "given away":
        one.cluster.edit("ConfigMap", "surplus", {"metadata": {"ownerReferences": None}})
    else:
        one.cluster.remove("ConfigMap", "surplus")
    if change == "replaced":
        await one.cluster.apply(config_map(one.kb, "surplus", a="10"))
    writes = len(one.cluster.writes)
    applied = await one.write(observed)
    assert one.cluster.writes[writes:] == []
    assert set(applied.children) == {NOTES}


def workload(one: Pass, kind: str, mounts: str) -> Manifest:
    """Return a child that mounts a ConfigMap."""
    pod = {"spec": {"containers": [], "volumes": [{"name": "settings", "configMap": {"name": mounts}}]}}
    spec = {"jobTemplate": {"spec": {"template": pod}}} if kind == "CronJob" else {"template": pod, "replicas": 1}
    return {**config_map(one.kb, kind.lower()), "kind": kind, "spec": spec}


@pytest.mark.parametrize("kind", ["CronJob", "Deployment"])
async def test_settings_are_kept_when_their_workload_is_not_what_was_observed(kind: str) -> None:
    one = Pass()
    await one.write({})
    one.wanted.append(workload(one, kind, "notes"))
    one.made(one.wanted[-1], observedGeneration=1, replicas=1, updatedReplicas=1)
    await one.cluster.apply(config_map(one.kb, "other", a="2"))
    observed = await one.observed()
    one.cluster.edit(kind, kind.lower(), {"spec": workload(one, kind, "other")["spec"]})
    with pytest.raises(Outdated, match="what it mounts is not deleted"):
        await one.write(observed)
    assert ("ConfigMap", "team", "other") in one.cluster.objects


async def test_settings_of_a_paused_schedule_stay() -> None:
    one = Pass()
    one.wanted.append(workload(one, "CronJob", "notes"))
    one.cluster.put(workload(one, "CronJob", "old"))
    one.cluster.edit("CronJob", "cronjob", PAUSED)
    await one.cluster.apply(config_map(one.kb, "old", a="1"))
    observed = await one.observed()
    assert children.settings_in_use(one.wanted, observed, ()) == {("ConfigMap", "old")}
    applied = await one.write(observed)
    assert applied.paused == {("CronJob", "cronjob")}
    assert ("ConfigMap", "team", "old") in one.cluster.objects


async def test_settings_stay_while_a_schedule_has_started_a_run_that_is_not_known() -> None:
    one = Pass()
    await one.write({})
    one.wanted.append(workload(one, "CronJob", "notes"))
    one.made(one.wanted[-1], active=[{"name": "run-1"}])
    await one.cluster.apply(config_map(one.kb, "old", a="1"))
    await one.write(await one.observed())
    assert ("ConfigMap", "team", "old") in one.cluster.objects
    one.cluster.edit("CronJob", "cronjob", {"status": {"active": []}})
    await one.write(await one.observed())
    assert ("ConfigMap", "team", "old") not in one.cluster.objects


async def test_what_controllers_make_of_children_is_family_and_nothing_else() -> None:
    def body(kind: str, name: str, *owners: dict[str, str]) -> Manifest:
        label = {labels.OWNER_UID: UID, labels.ROLE: "worker"}
        return {"kind": kind, "metadata": {"name": name, "uid": name, "labels": label, "ownerReferences": list(owners)}}

    mine = {"kind": "KnowledgeBase", "uid": UID, "name": "docs"}
    found = [
        body("Deployment", "docs-worker", mine),
        body("CronJob", "nightly", mine),
        body("Job", "nightly-1", {"kind": "CronJob", "uid": "nightly"}),
        body("Pod", "nightly-1-x", {"kind": "Job", "uid": "nightly-1"}),
        body("Pod", "docs-worker-1-x", {"kind": "ReplicaSet", "name": "docs-worker-1", "uid": "rs"}),
        body("Pod", "debug", {"kind": "ReplicaSet", "name": "docs-1", "uid": "rs2"}),
        body("Deployment", "by-hand", mine),
        body("Pod", "by-hand-1-x", {"kind": "ReplicaSet", "name": "by-hand-1", "uid": "rs3"}),
        body("Pod", "bare"),
        body("Job", "copied", {"kind": "CronJob", "uid": "another"}),
        body("Service", "copied"),
    ]
    assert sorted(children.family(found, UID)) == [
        ("CronJob", "nightly"),
        ("Deployment", "by-hand"),
        ("Deployment", "docs-worker"),
        ("Job", "nightly-1"),
        ("Pod", "docs-worker-1-x"),
        ("Pod", "nightly-1-x"),
    ]


async def test_nothing_to_change_asks_for_nothing() -> None:
    one = Pass()
    observed = (await one.write({})).children
    writes = len(one.cluster.writes)
    applied = await children.write(Changes(), observed, UID, passes.world(one.cluster))
    assert (applied.children, one.cluster.gets, one.cluster.writes[writes:]) == (observed, [], [])
    assert key(observed[NOTES]) == NOTES


async def test_a_child_whose_write_met_another_one_is_not_taken_for_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgotten in the version that it has, it would not be seen before it changes."""
    one = Pass()
    await one.write({})
    observed = await one.observed()
    one.wanted = [config_map(one.kb, a="2")]
    answers: list[Exception] = [Outdated("somebody else is writing it"), Refused("no", status=422)]
    lost: list[Manifest] = []

    async def apply(_: Manifest) -> Manifest:
        raise answers.pop(0)

    async def forget(child: Manifest) -> None:
        lost.append(child)

    monkeypatch.setattr(one.cluster, "apply", apply)
    monkeypatch.setattr(one.cluster, "lost", forget)
    assert (await one.write(observed)).refusals == ("no",)
    assert (answers, lost) == ([], [])
