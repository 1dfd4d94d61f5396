"""A DOUBLE for the scheduler and the kubelet of one node: it binds pods and reports their life without running them.

Tests start it beside `control_plane`, whose real controllers make the pods (Deployment, Job) and read the statuses.

What it shows: binding, waiting for missing ConfigMaps, Secrets, keys and claims, Ready after a time, exit codes,
termination messages, restarts of failed containers, graceful deletion. `pod_status` refuses impossible reports.

What it does not show: images, commands and their arguments, probes (Ready is a matter of time), resource limits and
the node's capacity, networks and DNS (`pod_servers` says what a pod answers), volumes' contents and binding (a claim
must exist, not be Bound), init containers that fail, sidecars, readiness gates, affinity and taints, Pod Security of
the runtime, events, logs and exec, eviction, preStop hooks and the grace period (a deleted pod ends at once with
exit code 143), and a restart back-off of minutes (here a fraction of a second).
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from e2e.testbed.api import connect
from e2e.testbed.background import running
from e2e.testbed.fake_kubelet import FakeKubelet, FakeNode, Outcome, registered
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
    extended_resources: Mapping[str, str] = _NOTHING,
) -> Iterator[FakeNode]:
    """Take every unbound pod of `namespace` (of all, where None) and report its life, until the block ends.

    An error in `outcome`, or a status that `pod_status` refuses, is raised at the end of the block.
    """
    node = FakeNode(
        name=name or f"fake-node-{uuid.uuid4().hex[:8]}",
        ready_after=ready_after,
        outcome=outcome,
        labels=dict(labels),
        extended_resources=dict(extended_resources),
    )

    async def body(started: Callable[[], None]) -> None:
        path = "/api/v1/pods" if namespace is None else f"/api/v1/namespaces/{namespace}/pods"
        async with connect(plane.rest) as api, registered(api, node.name, node.labels):
            started()
            servers = PodServers(api, node.models)
            try:
                await FakeKubelet(node, api, servers).run(path)
            finally:
                await servers.close()

    with running(node.name, body):
        yield node
