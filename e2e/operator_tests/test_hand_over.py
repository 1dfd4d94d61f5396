"""What `desired.deployment.handed_over` relies on in the API server: who owns the number of replicas.

A field that its only manager applies no more goes back to its default, which is one replica.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2e.operator_tests.objects import Objects
from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.errors import ApiRefused
from lectern_contract import names
from lectern_contract.resources import KnowledgeBase, parse_as
from lectern_operator.desired import knowledge_base as desired
from lectern_operator.desired.deployment import handed_over
from lectern_operator_tests import worlds

Manifest = dict[str, Any]


class Workers:
    """The worker Deployment of one knowledge base, as the operator, an autoscaler and nobody in particular see it."""

    def __init__(self, plane: ControlPlane, objects: Objects) -> None:
        self._plane = plane
        self._kb = parse_as(KnowledgeBase, objects.create(worlds.KNOWLEDGE_BASE))
        self._path = objects.path("Deployment", "docs-worker")

    def wanted(self, replicas: int | None) -> Manifest:
        """Return the manifest with a number of the operator's, or with one that is left to an autoscaler."""
        scaled = replicas is None
        made = desired.manifests(self._kb, generation=1, replicas=replicas, scaled=scaled, images=worlds.IMAGES)
        (found,) = [each for each in made if each["kind"] == "Deployment" and each["metadata"]["name"] == "docs-worker"]
        return found

    def apply(self, manifest: Manifest, manager: str = names.FIELD_MANAGER, *, force: bool = True) -> Manifest:
        """Apply as the operator does."""
        path = f"{self._path}?fieldManager={manager}&force={json.dumps(force)}"
        return self._plane.request("PATCH", path, manifest, content_type="application/apply-patch+yaml")

    def scale(self, replicas: int) -> None:
        """Set the number as an autoscaler does."""
        found = self._plane.request("GET", f"{self._path}/scale")
        found["spec"]["replicas"] = replicas
        del found["metadata"]["resourceVersion"]  # a controller may write the Deployment's status at any moment
        self._plane.request("PUT", f"{self._path}/scale?fieldManager=autoscaler", found)


@pytest.fixture
def workers(control_plane: ControlPlane, objects: Objects) -> Workers:
    return Workers(control_plane, objects)


def test_without_a_hand_over_all_workers_but_one_would_go(workers: Workers) -> None:
    workers.apply(workers.wanted(5))
    assert workers.apply(workers.wanted(None))["spec"]["replicas"] == 1


def test_a_number_that_is_handed_over_stays_until_an_autoscaler_sets_another(workers: Workers) -> None:
    observed = workers.apply(workers.wanted(5))
    held = handed_over(workers.wanted(None), observed)
    assert held is not None
    assert workers.apply(held, names.SCALING_MANAGER, force=False)["spec"]["replicas"] == 5
    after = workers.apply(workers.wanted(None))
    assert after["spec"]["replicas"] == 5
    assert handed_over(workers.wanted(None), after) is None
    workers.scale(7)
    assert workers.apply(workers.wanted(None))["spec"]["replicas"] == 7


def test_what_an_autoscaler_has_set_meanwhile_is_a_conflict_and_stays(workers: Workers) -> None:
    observed = workers.apply(workers.wanted(5))
    workers.scale(7)
    held = handed_over(workers.wanted(None), observed)
    assert held is not None
    with pytest.raises(ApiRefused) as refused:
        workers.apply(held, names.SCALING_MANAGER, force=False)
    assert refused.value.status == 409
    assert workers.apply(workers.wanted(None))["spec"]["replicas"] == 7


def test_the_operator_takes_the_number_back_and_hands_it_over_again(workers: Workers) -> None:
    held = handed_over(workers.wanted(None), workers.apply(workers.wanted(5)))
    assert held is not None
    workers.apply(held, names.SCALING_MANAGER, force=False)
    workers.apply(workers.wanted(None))
    observed = workers.apply(workers.wanted(3))
    assert observed["spec"]["replicas"] == 3
    held = handed_over(workers.wanted(None), observed)
    assert held is not None
    workers.apply(held, names.SCALING_MANAGER, force=False)
    assert workers.apply(workers.wanted(None))["spec"]["replicas"] == 3
