"""Starts a real control plane (etcd, API server, controller-manager, scheduler) for a test and stops it afterwards.

`with control_plane() as plane:` takes about 4 seconds; the binaries come from `build` or from KUBEBUILDER_ASSETS.
There is no node: see `fake_node`. Everything listens on loopback, on free ports.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from e2e.testbed import certificates, commands, pieces
from e2e.testbed.commands import Layout
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
SCHEDULER = User("system:kube-scheduler")  # the API server's own RBAC role of that user says what it may do
BIND_FAILURES = ("address already in use", "failed to listen")


@contextmanager
def control_plane(directory: Path | None = None, *, users: Sequence[User] = ()) -> Iterator[ControlPlane]:
    """Start a control plane in `directory` and yield it; stop it when the context ends, however it ends.

    Without `directory` a temporary one is used and removed, unless the start fails: then it stays, for its logs.
    With one, keys and the objects in etcd stay and a second start on it finds them. `users` are known to
    the API server by a token and have no rights but those that RBAC gives them.

    Raises MissingComponent when a binary is missing and StartFailed when a component is not up within 30 s.
    """
    binaries, scheduler = pieces.binaries(os.environ), pieces.scheduler(os.environ)
    home = Path(tempfile.mkdtemp(prefix="lectern-testbed-")) if directory is None else directory
    layout = Layout(home, binaries, scheduler)
    for path in (layout.logs, layout.data):
        path.mkdir(parents=True, exist_ok=True)
    keys = certificates.ensure(layout.keys)
    commands.write_audit_policy(layout.audit_policy)
    tokens = commands.write_tokens(layout.tokens, [ADMIN, CONTROLLER_MANAGER, SCHEDULER, *users])
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
    client_port, peer_port, api_port, scheduler_port = free_ports(4)
    rest = Rest(f"https://127.0.0.1:{api_port}", keys.ca, tokens[ADMIN.name])
    scheduler_rest = Rest(f"https://127.0.0.1:{scheduler_port}", keys.ca, tokens[ADMIN.name])
    deadline = time.monotonic() + START_SECONDS

    def remaining() -> float:
        return max(0.0, deadline - time.monotonic())

    def kubeconfig(component: str, user: User) -> Path:
        path = layout.home / f"{component}.kubeconfig"
        return write_kubeconfig(path, rest.url, keys.ca, user.name, tokens[user.name])

    store = processes.start("etcd", commands.etcd(layout, client_port, peer_port))
    server = processes.start("kube-apiserver", commands.api_server(layout, keys, client_port, api_port))
    server.wait_until(lambda: store.program.poll() is not None or _answers(rest, "/readyz"), remaining())
    store.wait_until(lambda: store.program.poll() is None, remaining())  # a dead etcd is told with etcd's log
    manager_command = commands.controller_manager(layout, keys, kubeconfig("controller-manager", CONTROLLER_MANAGER))
    manager = processes.start("kube-controller-manager", manager_command)
    commands.write_scheduler_settings(layout.scheduler_settings, kubeconfig("scheduler", SCHEDULER))
    scheduler = processes.start("kube-scheduler", commands.scheduler(layout, keys, scheduler_port))
    # It serves no health endpoint here; that it made the first service account shows that it works.
    made = "/api/v1/namespaces/default/serviceaccounts/default"
    manager.wait_until(lambda: _answers(rest, made), remaining())
    scheduler.wait_until(lambda: _answers(scheduler_rest, "/readyz"), remaining())
    return rest


def _answers(rest: Rest, path: str) -> bool:
    try:
        rest.request("GET", path, timeout=PROBE_SECONDS)
    except (ApiRefused, OSError):
        return False
    return True
