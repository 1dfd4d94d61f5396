"""A DOUBLE for the kubelet of one node: the real scheduler binds pods to it, and it reports their life without any run.

Tests start it beside `control_plane`, whose real controllers make the pods (Deployment, Job) and read the statuses.
Claims are bound at once to volumes that hold nothing (`fake_volumes`).

What it shows: a Node with capacity, labels and taints for the scheduler's own rules, waiting for missing ConfigMaps,
Secrets and keys, Ready after a time, exit codes, termination messages, restarts of failed containers, graceful
deletion. `pod_status` refuses impossible reports.

What it does not show: images, commands and their arguments, probes (Ready is a matter of time), limits at work (what
pods request is only counted), networks and DNS (`pod_servers` says what a pod answers), volumes' contents, init
containers that fail, sidecars, readiness gates, the kubelet's own admission, Pod Security of the runtime, its events,
logs and exec, eviction, preStop hooks and the grace period (a deleted pod ends at once with exit code 143), and a
restart back-off of minutes (here a fraction of a second).
"""

import asyncio
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from e2e.testbed.api import connect
from e2e.testbed.background import running
from e2e.testbed.fake_kubelet import FakeKubelet, FakeNode, Outcome
from e2e.testbed.fake_volumes import FakeVolumes
from e2e.testbed.node_object import NodeObject, registered
from e2e.testbed.plane import ControlPlane
from e2e.testbed.pod_servers import PodServers
from e2e.testbed.pod_status import Pod, PodOutcome

__all__ = ["FakeNode", "Pod", "PodOutcome", "fake_node", "run_to_completion"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


def run_to_completion(pod: Pod) -> PodOutcome | None:
    """Let a pod that is always restarted run for ever and any other one succeed at once: the default outcome."""
    return None if pod["spec"].get("restartPolicy", "Always") == "Always" else PodOutcome()


@contextmanager
def fake_node(
    plane: ControlPlane,
    *,
    namespace: str | None = None,
    ready_after: float = 0.0,
    outcome: Outcome = run_to_completion,
    name: str | None = None,
    labels: Mapping[str, str] = _NOTHING,
    capacity: Mapping[str, str] = _NOTHING,
    taints: Sequence[Mapping[str, str]] = (),
) -> Iterator[FakeNode]:
    """Keep a node and report the life of its pods, until the block ends.

    `labels`, `capacity` (on top of `node_object.CAPACITY`: `nvidia.com/gpu`, or less of something) and `taints` are
    what the scheduler sees. It may bind pods of any namespace; those outside of `namespace` (where given) stay Pending.

    An error in `outcome`, or a status that `pod_status` refuses, is raised at the end of the block.
    """
    node = FakeNode(name=name or f"fake-node-{uuid.uuid4().hex[:8]}", ready_after=ready_after, outcome=outcome)
    scheduled = NodeObject(node.name, dict(labels), dict(capacity), tuple(taints))
    scope = "/api/v1" if namespace is None else f"/api/v1/namespaces/{namespace}"

    async def body(started: Callable[[], None]) -> None:
        async with connect(plane.rest) as api, registered(api, scheduled):
            started()
            servers, volumes = PodServers(api, node.models), FakeVolumes(api)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(volumes.run(f"{scope}/persistentvolumeclaims"))
                    await FakeKubelet(node, api, servers).run(f"{scope}/pods")
            finally:
                await volumes.close()
                await servers.close()

    with running(node.name, body):
        yield node
