"""One test's namespace in the testbed's own tests: create objects, look at them, wait for what becomes of a pod."""

from e2e.testbed.control_plane import ControlPlane
from e2e.testbed_tests.eventually import eventually
from e2e.testbed_tests.objects import Manifest, collection, condition, create


class World:
    """The namespace, as an administrator."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace

    def create(self, manifest: Manifest) -> Manifest:
        """Create the object and return it as the server keeps it."""
        return create(self.plane, self.namespace, manifest)

    def pod(self, name: str) -> Manifest:
        """Return one pod."""
        return self.plane.request("GET", f"{collection(self.namespace, 'Pod')}/{name}")

    def pods(self) -> list[Manifest]:
        """Return all pods."""
        items: list[Manifest] = self.plane.request("GET", collection(self.namespace, "Pod"))["items"]
        return items

    def becomes_ready(self, name: str) -> Manifest:
        """Wait until a pod is Ready and return it."""
        return eventually(lambda: self.pod(name), lambda found: condition(found, "Ready")["status"] == "True")

    def becomes(self, name: str, phase: str) -> Manifest:
        """Wait for a phase of a pod and return the pod."""
        return eventually(lambda: self.pod(name), lambda found: found["status"]["phase"] == phase)

    def refused(self, name: str) -> str:
        """Wait until the scheduler has found no node for a pod, and return its message."""
        found = eventually(
            lambda: condition(self.pod(name), "PodScheduled"), lambda scheduled: scheduled["status"] == "False"
        )
        assert found["reason"] == "Unschedulable", found
        assert "nodeName" not in self.pod(name)["spec"]
        return str(found["message"])

    def wait(self, what: str, until: str) -> None:
        """Wait with kubectl for a condition of `what`."""
        self.plane.kubectl("wait", "-n", self.namespace, f"--for={until}", what, "--timeout=20s")
