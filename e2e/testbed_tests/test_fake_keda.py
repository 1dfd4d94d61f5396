import pytest

from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.errors import ApiRefused
from e2e.testbed.fake_keda import fake_keda
from e2e.testbed.keda import keda_crds
from e2e.testbed_tests.eventually import eventually
from e2e.testbed_tests.objects import Manifest, collection, condition, create, deployment, scaled_object


@pytest.fixture(scope="module", autouse=True)
def crds(control_plane: ControlPlane) -> None:
    control_plane.install_crds(*keda_crds())


def look(plane: ControlPlane, namespace: str) -> Manifest:
    return plane.request("GET", f"{collection(namespace, 'ScaledObject', 'keda.sh/v1alpha1')}/workers")


def test_real_schema_accepts_a_scaled_object(control_plane: ControlPlane, namespace: str) -> None:
    made = create(control_plane, namespace, scaled_object("workers", "worker", pollingInterval=5, cooldownPeriod=30))
    assert made["spec"]["triggers"][0]["type"] == "kafka"


def test_real_schema_refuses_a_wrong_type(control_plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(ApiRefused, match=r"spec\.maxReplicaCount.*must be of type integer"):
        create(control_plane, namespace, scaled_object("workers", "worker", maxReplicaCount="ten"))


def test_scaled_object_is_ready_once_its_deployment_exists(control_plane: ControlPlane, namespace: str) -> None:
    with fake_keda(control_plane, namespace=namespace):
        create(control_plane, namespace, scaled_object("workers", "worker"))
        found = eventually(
            lambda: look(control_plane, namespace), lambda found: condition(found, "Ready")["status"] == "False"
        )
        assert condition(found, "Ready")["reason"] == "ScaledObjectCheckFailed"
        create(control_plane, namespace, deployment("worker", 0))
        found = eventually(
            lambda: look(control_plane, namespace), lambda found: condition(found, "Ready")["status"] == "True"
        )
    assert condition(found, "Ready")["reason"] == "ScaledObjectReady"
    assert condition(found, "Active")["status"] == "False"


def test_second_install_changes_nothing(control_plane: ControlPlane) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scaledobjects.keda.sh"
    before = control_plane.request("GET", path)["metadata"]["resourceVersion"]
    control_plane.install_crds(*keda_crds())
    assert control_plane.request("GET", path)["metadata"]["resourceVersion"] == before
