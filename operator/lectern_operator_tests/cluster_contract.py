"""What the operator relies on in a cluster, as tests that the fake and the real API server both pass.

A subclass names a `cluster`, a `namespace` in it, the body of an `owner` there, and `other`: somebody else who merges a
patch into an object. `test_fake_cluster` and `e2e/operator_tests` have one each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from lectern_contract import labels
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase, parse_as
from lectern_operator.clients.errors import NotFound, NotServed, Outdated, Refused
from lectern_operator.desired import knowledge_base as desired
from lectern_operator.desired.deployment import deployment, handed_over
from lectern_operator.desired.metadata import Owner, metadata, sealed, selector
from lectern_operator.desired.metadata import owner as metadata_owner
from lectern_operator.facts import Known
from lectern_operator.policies.drift import drifted
from lectern_operator.reconcilers.world import Cluster
from lectern_operator_tests import worlds

Manifest = dict[str, Any]
CONTAINER: Manifest = {"name": "main", "image": "main:test"}
Other = Callable[[str, str, Mapping[str, Any]], None]
"""Kind, name and patch: what somebody else merges into an object."""


def config_map(owner: Manifest, name: str = "notes", **data: str) -> Manifest:
    """Return a ConfigMap of ours."""
    of = Owner(owner["kind"], owner["metadata"]["name"], owner["metadata"]["namespace"], owner["metadata"]["uid"])
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(of, name, Role.WORKER), "data": data}
    return sealed(body)


class ClusterContract:
    """The tests; subclasses add the fixtures."""

    async def test_what_is_applied_is_listed_by_its_owner(self, cluster: Cluster, owner: Manifest) -> None:
        applied = await cluster.apply(config_map(owner, a="1"))
        namespace, uid = owner["metadata"]["namespace"], owner["metadata"]["uid"]
        (listed,) = await cluster.children("ConfigMap", namespace, uid)
        assert (listed["apiVersion"], listed["kind"]) == ("v1", "ConfigMap")
        assert listed["metadata"]["uid"] == applied["metadata"]["uid"]
        assert listed["metadata"]["labels"][labels.OWNER_UID] == uid
        assert await cluster.children("ConfigMap", namespace, "another") == ()

    async def test_applying_the_same_again_changes_nothing(self, cluster: Cluster, owner: Manifest) -> None:
        first = await cluster.apply(config_map(owner, a="1"))
        again = await cluster.apply(config_map(owner, a="1"))
        assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]

    async def test_a_field_that_is_wanted_no_more_goes(self, cluster: Cluster, owner: Manifest) -> None:
        before = await cluster.apply(config_map(owner, a="1", b="2"))
        wanted = config_map(owner, a="1")
        assert drifted(wanted, before)
        after = await cluster.apply(wanted)
        assert after["data"] == {"a": "1"}
        assert not drifted(wanted, after)

    async def test_what_somebody_else_adds_stays_and_what_they_change_is_taken_back(
        self, cluster: Cluster, owner: Manifest, other: Other
    ) -> None:
        wanted = config_map(owner, a="1")
        await cluster.apply(wanted)
        other("ConfigMap", "notes", {"data": {"c": "3"}})
        found = await cluster.get("ConfigMap", owner["metadata"]["namespace"], "notes")
        assert not drifted(wanted, found)
        other("ConfigMap", "notes", {"data": {"a": "9"}})
        assert drifted(wanted, await cluster.get("ConfigMap", owner["metadata"]["namespace"], "notes"))
        after = await cluster.apply(wanted)
        assert after["data"] == {"a": "1", "c": "3"}

    @pytest.mark.parametrize("name", ["engineering", "support", "handbook"])
    async def test_defaults_and_quantities_of_the_server_are_no_drift(
        self, cluster: Cluster, owner: Manifest, name: str
    ) -> None:
        (document,) = [
            each
            for each in worlds.samples("full", "minimal")
            if each["kind"] == "KnowledgeBase" and each["metadata"]["name"] == name
        ]
        body = {**document, "metadata": owner["metadata"]}
        kb = parse_as(KnowledgeBase, body)
        for manifest in desired.manifests(kb, generation=1, replicas=None, scaled=False, images=worlds.IMAGES):
            assert not drifted(manifest, await cluster.apply(manifest)), manifest["kind"]

    async def test_leaving_out_replicas_leaves_them_to_who_sets_them(
        self, cluster: Cluster, owner: Manifest, other: Other
    ) -> None:
        kb = parse_as(KnowledgeBase, {**worlds.KNOWLEDGE_BASE, "metadata": owner["metadata"]})
        manifests = desired.manifests(kb, generation=1, replicas=None, scaled=False, images=worlds.IMAGES)
        (worker,) = [
            each for each in manifests if (each["kind"], each["metadata"]["name"]) == ("Deployment", "docs-worker")
        ]
        await cluster.apply(worker)
        other("Deployment", worker["metadata"]["name"], {"spec": {"replicas": 3}})
        assert (await cluster.apply(worker))["spec"]["replicas"] == 3

    async def test_replicas_that_are_held_stay_when_they_are_applied_no_more(
        self, cluster: Cluster, owner: Manifest
    ) -> None:
        kb = parse_as(KnowledgeBase, {**worlds.KNOWLEDGE_BASE, "metadata": owner["metadata"]})
        of = metadata_owner(kb)
        template = {"metadata": {"labels": selector(of, Role.WORKER)}, "spec": {"containers": [CONTAINER]}}
        fixed, scaled = (deployment(of, Role.WORKER, template, replicas=number) for number in (3, None))
        observed = await cluster.apply(fixed)
        held = handed_over(scaled, observed)
        assert held is not None
        await cluster.hold({**held, "spec": {"replicas": 7}})  # a conflict with who owns the number: nothing happens
        await cluster.hold(held)
        assert (await cluster.apply(scaled))["spec"]["replicas"] == 3
        await cluster.apply(fixed)
        assert (await cluster.apply(scaled))["spec"]["replicas"] == 3, "it is held until an autoscaler sets another"

    async def test_replicas_that_nobody_holds_fall_back_to_one(self, cluster: Cluster, owner: Manifest) -> None:
        kb = parse_as(KnowledgeBase, {**worlds.KNOWLEDGE_BASE, "metadata": owner["metadata"]})
        of = metadata_owner(kb)
        template = {"metadata": {"labels": selector(of, Role.WORKER)}, "spec": {"containers": [CONTAINER]}}
        await cluster.apply(deployment(of, Role.WORKER, template, replicas=3))
        after = await cluster.apply(deployment(of, Role.WORKER, template, replicas=None))
        assert after["spec"]["replicas"] == 1

    async def test_a_selector_is_replaced_as_a_whole(self, cluster: Cluster, owner: Manifest, other: Other) -> None:
        kb = parse_as(KnowledgeBase, {**worlds.KNOWLEDGE_BASE, "metadata": owner["metadata"]})
        manifests = desired.manifests(kb, generation=1, replicas=1, scaled=False, images=worlds.IMAGES)
        (service,) = [
            each for each in manifests if (each["kind"], each["metadata"]["name"]) == ("Service", "docs-embedder")
        ]
        await cluster.apply(service)
        other("Service", service["metadata"]["name"], {"spec": {"selector": {"app": "other"}}})
        found = await cluster.get("Service", owner["metadata"]["namespace"], service["metadata"]["name"])
        assert drifted(service, found)
        assert not drifted(service, await cluster.apply(service))

    async def test_what_is_not_there_is_not_found(self, cluster: Cluster, owner: Manifest) -> None:
        with pytest.raises(NotFound):
            await cluster.get("ConfigMap", owner["metadata"]["namespace"], "nothing")

    async def test_a_kind_that_is_not_installed_is_not_served(self, cluster: Cluster, owner: Manifest) -> None:
        with pytest.raises(NotServed):
            await cluster.children("ScaledObject", owner["metadata"]["namespace"], "uid")

    async def test_what_exists_is_not_made_anew(self, cluster: Cluster, owner: Manifest) -> None:
        made = await cluster.apply_new(config_map(owner, a="1"))
        assert made["data"] == {"a": "1"}
        with pytest.raises(Outdated):
            await cluster.apply_new(config_map(owner, a="2"))
        assert not drifted(config_map(owner, a="1"), await cluster.apply(config_map(owner, a="1")))

    async def test_an_apply_that_names_an_object_touches_no_other(self, cluster: Cluster, owner: Manifest) -> None:
        made = await cluster.apply_new(config_map(owner, a="1"))
        named = config_map(owner, a="2")
        named["metadata"]["uid"] = made["metadata"]["uid"]
        after = await cluster.apply(named)
        assert (after["metadata"]["uid"], after["data"]) == (made["metadata"]["uid"], {"a": "2"})
        await cluster.delete(after)
        with pytest.raises(Outdated):
            await cluster.apply(named)
        assert await cluster.children("ConfigMap", owner["metadata"]["namespace"], owner["metadata"]["uid"]) == ()

    async def test_what_is_served_is_told(self, cluster: Cluster, owner: Manifest) -> None:
        assert await cluster.served("KnowledgeBase") == Known(value=True)
        assert await cluster.served("Deployment") == Known(value=True)
        assert await cluster.served("ScaledObject") == Known(value=False)

    async def test_a_knowledge_base_is_found_by_name_and_with_those_that_name_it(
        self, cluster: Cluster, owner: Manifest
    ) -> None:
        namespace, name = owner["metadata"]["namespace"], owner["metadata"]["name"]
        found = await cluster.owner("KnowledgeBase", namespace, name)
        assert found["metadata"]["uid"] == owner["metadata"]["uid"]
        with pytest.raises(NotFound):
            await cluster.owner("KnowledgeBase", namespace, "nowhere")
        assert await cluster.naming(namespace, "nowhere") == ()

    async def test_delete_spares_another_object_of_that_name(self, cluster: Cluster, owner: Manifest) -> None:
        first = await cluster.apply(config_map(owner, a="1"))
        await cluster.delete({**first, "metadata": {**first["metadata"], "uid": "00000000-another"}})
        namespace = owner["metadata"]["namespace"]
        assert await cluster.get("ConfigMap", namespace, "notes")
        await cluster.delete(first)
        with pytest.raises(NotFound):
            await cluster.get("ConfigMap", namespace, "notes")
        await cluster.delete(first)

    async def test_a_status_is_written_whole_and_only_onto_what_was_read(
        self, cluster: Cluster, owner: Manifest
    ) -> None:
        written = await cluster.write_status(owner, {"observedGeneration": 7})
        assert written["status"] == {"observedGeneration": 7}
        assert written["spec"] == owner["spec"]
        assert written["metadata"]["generation"] == owner["metadata"]["generation"]
        with pytest.raises(Outdated):
            await cluster.write_status(owner, {"observedGeneration": 8})

    async def test_the_content_of_immutable_settings_cannot_change(self, cluster: Cluster, owner: Manifest) -> None:
        await cluster.apply({**config_map(owner, a="1"), "immutable": True})
        with pytest.raises(Refused, match="immutable"):
            await cluster.apply({**config_map(owner, a="2"), "immutable": True})

    async def test_a_label_that_is_too_long_is_refused_with_its_value(self, cluster: Cluster, owner: Manifest) -> None:
        wanted = config_map(owner)
        wanted["metadata"]["labels"]["long"] = "x" * 64
        with pytest.raises(Refused, match="xxx"):
            await cluster.apply(wanted)

    async def test_a_namespace_that_is_not_there_is_not_found(self, cluster: Cluster, owner: Manifest) -> None:
        wanted = config_map(owner)
        wanted["metadata"]["namespace"] = "nowhere"
        with pytest.raises(NotFound):
            await cluster.apply(wanted)
