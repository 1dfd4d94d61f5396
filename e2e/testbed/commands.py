"""Turns paths and ports into the command lines of the control plane's four programs.

Pure but for the files that they read at start (tokens, audit policy, the scheduler's settings); `control_plane` runs
the commands.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.testbed.certificates import Certificates
from e2e.testbed.plane import User

Command = list[str | Path]

# Controllers that need nodes or a cloud. Without heartbeats from a kubelet the node lifecycle controllers would
# evict every pod of a fake node after 40 s.
CONTROLLERS_OFF = (
    "node-ipam-controller",
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "device-taint-eviction-controller",
    "service-lb-controller",
    "cloud-node-lifecycle-controller",
    "persistentvolume-attach-detach-controller",
    "bootstrap-signer-controller",
    "token-cleaner-controller",
)


@dataclass(frozen=True)
class Layout:
    """Where one control plane keeps its files, and where its programs are."""

    home: Path
    binaries: Path
    scheduler: Path

    @property
    def logs(self) -> Path:
        """One log file per program."""
        return self.home / "logs"

    @property
    def data(self) -> Path:
        """The data directory of etcd."""
        return self.home / "etcd"

    @property
    def keys(self) -> Path:
        """Certificates and private keys."""
        return self.home / "pki"

    @property
    def tokens(self) -> Path:
        """The API server's static token file."""
        return self.home / "tokens.csv"

    @property
    def audit_policy(self) -> Path:
        """What the API server writes into its audit log."""
        return self.home / "audit-policy.json"

    @property
    def scheduler_settings(self) -> Path:
        """The scheduler's configuration file."""
        return self.home / "scheduler.json"

    @property
    def audit_log(self) -> Path:
        """Requests of service accounts, one JSON object a line."""
        return self.logs / "audit.log"


def etcd(layout: Layout, client_port: int, peer_port: int) -> Command:
    """Return the command of a single etcd member that never calls fsync: the data may die with the machine."""
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        layout.binaries / "etcd",
        "--name=testbed",
        f"--data-dir={layout.data}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=testbed={peer}",
        "--force-new-cluster=" + ("true" if (layout.data / "member").exists() else "false"),  # ports changed
        "--log-level=warn",
    ]


def api_server(layout: Layout, keys: Certificates, etcd_port: int, port: int) -> Command:
    """Return the command of the API server: static tokens, RBAC, loopback."""
    return [
        layout.binaries / "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        "--endpoint-reconciler-type=none",  # loopback may not stand in an EndpointSlice
        f"--tls-cert-file={keys.server_certificate}",
        f"--tls-private-key-file={keys.server_key}",
        f"--service-account-key-file={keys.service_account_key}",
        f"--service-account-signing-key-file={keys.service_account_key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={layout.tokens}",
        f"--audit-policy-file={layout.audit_policy}",
        f"--audit-log-path={layout.audit_log}",
        "--authorization-mode=Node,RBAC",
        "--anonymous-auth=false",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
        "--profiling=false",
        "--v=0",
    ]


def controller_manager(layout: Layout, keys: Certificates, kubeconfig: Path) -> Command:
    """Return the command of the controller-manager with all controllers that work without nodes."""
    return [
        layout.binaries / "kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        "--controllers=" + ",".join(["*", *(f"-{name}" for name in CONTROLLERS_OFF)]),
        "--leader-elect=false",
        "--secure-port=0",
        f"--root-ca-file={keys.ca}",
        f"--service-account-private-key-file={keys.service_account_key}",
        "--horizontal-pod-autoscaler-sync-period=5s",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
        "--v=0",
    ]


def scheduler(layout: Layout, keys: Certificates, port: int) -> Command:
    """Return the command of the scheduler, which says at `/readyz` of `port` when it has seen the cluster."""
    return [
        layout.scheduler,
        f"--config={layout.scheduler_settings}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={keys.server_certificate}",
        f"--tls-private-key-file={keys.server_key}",
        "--v=0",
    ]


def write_scheduler_settings(path: Path, kubeconfig: Path) -> None:
    """Let the scheduler try a pod that found no node again after a second, the shortest time that it takes."""
    settings = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig), "qps": 200, "burst": 400},
        "leaderElection": {"leaderElect": False},
        "enableProfiling": False,
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 1,
    }
    path.write_text(json.dumps(settings))


def write_audit_policy(path: Path) -> None:
    """Let the API server log the requests of service accounts: who asked for what, and the answer's status."""
    rules = [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    path.write_text(json.dumps(policy))


def write_tokens(path: Path, users: Sequence[User]) -> dict[str, str]:
    """Write the static token file for `users` and return each user's new token by name."""
    tokens = {user.name: secrets.token_urlsafe(24) for user in users}
    lines = []
    for user in users:
        groups = ",".join(user.groups)
        lines.append(f'{tokens[user.name]},{user.name},{user.name},"{groups}"\n')
    path.write_text("".join(lines))
    path.chmod(0o600)
    return tokens
