"""Starts a real control plane (etcd, kube-apiserver, kube-controller-manager) for a test and stops it afterwards.

`with control_plane() as plane:` takes about 4 seconds; the binaries come from `build` or from KUBEBUILDER_ASSETS.
There is no node and no scheduler: see `fake_node`. Everything listens on loopback, on free ports.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from e2e.testbed import certificates, pieces
from e2e.testbed.commands import Layout, api_server, controller_manager, etcd, write_audit_policy, write_tokens
from e2e.testbed.errors import ApiRefused, StartFailed
from e2e.testbed.kubeconfig import write_kubeconfig
from e2e.testbed.plane import ControlPlane, User
from e2e.testbed.process import Processes, free_ports
from e2e.testbed.rest import Rest

__all__ = ["ControlPlane", "User", "control_plane"]

START_SECONDS = 30.0
START_ATTEMPTS = 3
PROBE_SECONDS = 2.0
ADMIN = User("testbed-admin", ("system:masters",))
CONTROLLER_MANAGER = User("system:kube-controller-manager", ("system:masters",))
BIND_FAILURES = ("address already in use", "failed to listen")


@contextmanager
def control_plane(directory: Path | None = None, *, users: Sequence[User] = ()) -> Iterator[ControlPlane]:
    """Start a control plane in `directory` and yield it; stop it when the context ends, however it ends.

    Without `directory` a temporary one is used and removed, unless the start fails: then it stays, for its logs.
    With one, keys and the objects in etcd stay and a second start on it finds them. `users` are known to
    the API server by a token and have no rights but those that RBAC gives them.

    Raises MissingComponent when a binary is missing and StartFailed when a component is not up within 30 s.
    """
    binaries = pieces.binaries(os.environ)
    home = Path(tempfile.mkdtemp(prefix="lectern-testbed-")) if directory is None else directory
    layout = Layout(home, binaries)
    for path in (layout.logs, layout.data):
        path.mkdir(parents=True, exist_ok=True)
    keys = certificates.ensure(layout.keys)
    write_audit_policy(layout.audit_policy)
    tokens = write_tokens(layout.tokens, [ADMIN, CONTROLLER_MANAGER, *users])
    started = False
    try:
        with Processes(layout.logs) as processes:
            rest = _start(processes, layout, keys, tokens)
            started = True
            yield _plane(rest, layout, users, tokens, processes)
    finally:
        if directory is None and started:
            shutil.rmtree(home, ignore_errors=True)


def _plane(
    rest: Rest, layout: Layout, users: Sequence[User], tokens: dict[str, str], processes: Processes
) -> ControlPlane:
    return ControlPlane(
        kubeconfig=write_kubeconfig(layout.home / "admin.kubeconfig", rest.url, rest.ca_file, ADMIN.name, rest.token),
        directory=layout.home,
        logs=layout.logs,
        binaries=layout.binaries,
        rest=rest,
        users={user.name: (user, tokens[user.name]) for user in users},
        pids={process.name: process.program.pid for process in processes.started},
    )


def _start(processes: Processes, layout: Layout, keys: certificates.Certificates, tokens: dict[str, str]) -> Rest:
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return _start_once(processes, layout, keys, tokens)
        except StartFailed as failure:
            processes.stop()
            # Between our look for free ports and the bind another process may have taken one.
            if attempt == START_ATTEMPTS or not any(text in str(failure) for text in BIND_FAILURES):
                raise
            for log in layout.logs.glob("*.log"):
                log.rename(log.with_suffix(f".attempt-{attempt}"))
    raise AssertionError("unreachable: the last attempt returns or raises")


def _start_once(processes: Processes, layout: Layout, keys: certificates.Certificates, tokens: dict[str, str]) -> Rest:
    client_port, peer_port, api_port = free_ports(3)
    url = f"https://127.0.0.1:{api_port}"
    deadline = time.monotonic() + START_SECONDS

    def remaining() -> float:
        return max(0.0, deadline - time.monotonic())

    store = processes.start("etcd", etcd(layout, client_port, peer_port))
    server = processes.start("kube-apiserver", api_server(layout, keys, client_port, api_port))
    rest = Rest(url, keys.ca, tokens[ADMIN.name])

    def answers(path: str) -> bool:
        try:
            rest.request("GET", path, timeout=PROBE_SECONDS)
        except (ApiRefused, OSError):
            return False
        return True

    server.wait_until(lambda: store.program.poll() is not None or answers("/readyz"), remaining())
    store.wait_until(lambda: store.program.poll() is None, remaining())  # a dead etcd is told with etcd's log
    kubeconfig = write_kubeconfig(
        layout.home / "controller-manager.kubeconfig",
        url,
        keys.ca,
        CONTROLLER_MANAGER.name,
        tokens[CONTROLLER_MANAGER.name],
    )
    manager = processes.start("kube-controller-manager", controller_manager(layout, keys, kubeconfig))
    # It serves no health endpoint here; that it made the first service account shows that it works.
    made = "/api/v1/namespaces/default/serviceaccounts/default"
    manager.wait_until(lambda: answers(made), remaining())
    return rest
