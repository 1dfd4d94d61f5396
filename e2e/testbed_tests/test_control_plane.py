import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.testbed.control_plane import ControlPlane, User
from e2e.testbed.control_plane import control_plane as start
from e2e.testbed.errors import ApiRefused, ComponentError, KubectlFailed, MissingComponent, StartFailed
from e2e.testbed.process import Processes, free_ports
from e2e.testbed_tests.eventually import eventually
from e2e.testbed_tests.objects import collection, config_map, create

ROOT = Path(__file__).resolve().parents[2]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # a zombie is dead, though nobody has asked for its status yet
    return "(zombie)" not in Path(f"/proc/{pid}/status").read_text() if sys.platform == "linux" else True


def test_server_tells_the_pinned_version(control_plane: ControlPlane) -> None:
    assert control_plane.request("GET", "/version")["gitVersion"] == "v1.36.3"
    assert "Server Version: v1.36.3" in control_plane.kubectl("version").stdout


def test_stop_leaves_no_process_and_a_second_start_finds_the_objects(tmp_path: Path) -> None:
    with start(tmp_path, users=[User("dora", ("readers", "writers"))]) as plane:
        pids = dict(plane.pids)
        assert all(alive(pid) for pid in pids.values())
        assert sorted(pids) == ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
        create(plane, "default", config_map("kept", {"a": "1"}))
        told = plane.kubectl("auth", "whoami", kubeconfig=plane.token_user("dora", ["readers", "writers"])).stdout
        assert "[readers writers system:authenticated]" in told
    assert not [name for name, pid in pids.items() if alive(pid)]
    with pytest.raises(ConnectionRefusedError):
        plane.request("GET", "/readyz")

    with start(tmp_path) as plane:
        assert plane.request("GET", f"{collection('default', 'ConfigMap')}/kept")["data"] == {"a": "1"}


def test_killed_parent_takes_the_components_along(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from e2e.testbed.control_plane import control_plane\n"
        f"with control_plane(Path({str(tmp_path)!r})) as plane:\n"
        "    print(*plane.pids.values(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 4
        parent.send_signal(signal.SIGKILL)
    assert eventually(lambda: [pid for pid in pids if alive(pid)], lambda left: not left, seconds=5) == []


def test_interrupt_stops_the_components(tmp_path: Path) -> None:
    pids: dict[str, int] = {}

    def interrupted() -> None:
        with start(tmp_path) as plane:
            pids.update(plane.pids)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert pids
    assert not [name for name, pid in pids.items() if alive(pid)]


def test_user_has_only_the_rights_that_rbac_gives(control_plane: ControlPlane, namespace: str) -> None:
    alice, bob = control_plane.token_user("alice"), control_plane.token_user("bob")
    read = ("get", "configmaps", "-n", namespace)
    with pytest.raises(KubectlFailed, match='User "alice" cannot list resource "configmaps"'):
        control_plane.kubectl(*read, kubeconfig=alice)

    control_plane.kubectl("create", "rolebinding", "readers", "-n", namespace, "--clusterrole=view", "--user=alice")

    eventually(lambda: control_plane.kubectl(*read, kubeconfig=alice, check=False).returncode, lambda code: code == 0)
    assert control_plane.kubectl(*read, kubeconfig=bob, check=False).returncode == 1


def test_service_account_gets_a_kubeconfig(control_plane: ControlPlane, namespace: str) -> None:
    kubeconfig = control_plane.service_account(namespace, "default")
    told = control_plane.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=kubeconfig)
    assert told.stdout == f"system:serviceaccount:{namespace}:default"


@pytest.mark.parametrize(("name", "groups"), [("carol", ()), ("alice", ("system:masters",))])
def test_undeclared_user_is_refused(control_plane: ControlPlane, name: str, groups: tuple[str, ...]) -> None:
    with pytest.raises(ComponentError, match=r"control_plane\(users="):
        control_plane.token_user(name, groups)


def test_owner_deleted_takes_its_children_along(control_plane: ControlPlane, namespace: str) -> None:
    owner = create(control_plane, namespace, config_map("owner", {}))
    create(control_plane, namespace, config_map("child", {}, owners=[owner]))
    create(control_plane, namespace, config_map("other", {}))
    path = collection(namespace, "ConfigMap")

    control_plane.request("DELETE", f"{path}/owner")

    def names() -> set[str]:
        return {each["metadata"]["name"] for each in control_plane.request("GET", path)["items"]}

    assert eventually(names, lambda left: "child" not in left) == {"other", "kube-root-ca.crt"}


def test_refused_request_carries_status_and_reason(control_plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(ApiRefused, match='configmaps "absent" not found') as caught:
        control_plane.request("GET", f"{collection(namespace, 'ConfigMap')}/absent")
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")


def test_assets_without_a_binary_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("etcd", "kube-apiserver", "kube-scheduler", "kubectl"):
        (tmp_path / name).touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with (
        pytest.raises(MissingComponent, match=r"lacks kube-controller-manager; .*`python -m e2e\.testbed\.build`"),
        start(),
    ):
        pytest.fail("it started")


def test_empty_cache_names_the_command_that_fills_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    with pytest.raises(MissingComponent, match=r"run `python -m e2e\.testbed\.build`"), start():
        pytest.fail("it started")


def test_component_that_dies_at_start_is_told_with_its_log(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        process = processes.start("broken", ["/bin/sh", "-c", "echo no such flag >&2; exit 3"])
        with pytest.raises(StartFailed, match=r"broken ended with status 3 while starting; .*\nno such flag"):
            process.wait_until(lambda: False, timeout=10)


def test_component_that_hangs_at_start_is_given_up(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        process = processes.start("slow", ["/bin/sleep", "60"])
        with pytest.raises(StartFailed, match="slow was not up within 0 s"):
            process.wait_until(lambda: False, timeout=0.2)
    assert not alive(process.program.pid)


def test_component_that_ignores_the_polite_request_is_killed(tmp_path: Path) -> None:
    with Processes(tmp_path, stop_seconds=0.3) as processes:
        process = processes.start("stubborn", ["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"])
        process.wait_until(lambda: "deaf" in process.tail(), timeout=5)
        begin = time.monotonic()
    assert time.monotonic() - begin < 3
    assert not alive(process.program.pid)


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20
