"""A running control plane as tests see it: addresses, credentials, `kubectl`, REST, and CRDs to install.

`control_plane` makes the value; nothing here starts or stops a component.
"""

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from e2e.testbed.errors import ApiRefused, ComponentError, KubectlFailed
from e2e.testbed.kubeconfig import write_kubeconfig
from e2e.testbed.rest import Rest

CRD_SECONDS = 30.0
CRD_POLL_SECONDS = 0.05
FIELD_MANAGER = "lectern-testbed"
_CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
# libyaml where PyYAML was built with it: KEDA's definitions are a megabyte of YAML
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class User:
    """Somebody whom the API server knows by a token; the groups say which RBAC bindings hold besides the name's."""

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class ControlPlane:
    """A running etcd, kube-apiserver, kube-controller-manager and kube-scheduler.

    `kubeconfig` and `token` are those of a cluster administrator; `pids` are by component name.
    """

    kubeconfig: Path
    directory: Path
    logs: Path
    binaries: Path
    rest: Rest
    users: Mapping[str, tuple[User, str]]
    pids: Mapping[str, int]

    @property
    def url(self) -> str:
        """The API server's address, `https://127.0.0.1:PORT`."""
        return self.rest.url

    @property
    def ca_file(self) -> Path:
        """The CA that signed the API server's certificate, PEM."""
        return self.rest.ca_file

    @property
    def token(self) -> str:
        """The administrator's bearer token."""
        return self.rest.token

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        timeout: float = 10.0,
    ) -> dict[str, Any]:
        """Send one request as administrator and return the answer; raises ApiRefused for an error status."""
        return self.rest.request(method, path, body, content_type=content_type, timeout=timeout)

    def kubectl(
        self,
        *args: str,
        stdin: str | None = None,
        check: bool = True,
        kubeconfig: Path | None = None,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run the real kubectl as administrator, or as whom `kubeconfig` names, for at most `timeout` seconds.

        Raises KubectlFailed when it ends with a status other than 0 (unless `check` is false) or takes too long.
        """
        command = [str(self.binaries / "kubectl"), f"--cache-dir={self.directory / 'kubectl-cache'}", *args]
        # HOME too: kubectl must not read a user's preferences (kuberc)
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "HOME": str(self.directory),
            "KUBERC": "off",
        }
        try:
            done = subprocess.run(
                command, input=stdin, env=environment, capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise KubectlFailed(f"`kubectl {' '.join(args)}` took more than {timeout:.0f} s") from error
        if check and done.returncode != 0:
            raise KubectlFailed(
                f"`kubectl {' '.join(args)}` ended with status {done.returncode}: {done.stderr.strip() or done.stdout}"
            )
        return done

    def token_user(self, name: str, groups: Sequence[str] = ()) -> Path:
        """Return the kubeconfig of a user that was given to `control_plane(users=...)`; `groups` must be the same."""
        user, token = self.users.get(name, (None, ""))
        if user is None or (groups and tuple(groups) != user.groups):
            declared = ", ".join(f"{each.name}{list(each.groups)}" for each, _ in self.users.values()) or "nobody"
            raise ComponentError(
                f"User {name}{list(groups)} is not one that this control plane was started with ({declared}); "
                f"the API server reads tokens at start only, so add it to control_plane(users=[...])."
            )
        return self._kubeconfig(f"user-{name}", name, token)

    def service_account(self, namespace: str, name: str) -> Path:
        """Return the kubeconfig of an existing service account, with a token that is good for an hour."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token = self.request("POST", path, wanted)["status"]["token"]
        return self._kubeconfig(f"sa-{namespace}-{name}", name, token)

    def install_crds(self, *paths: Path) -> None:
        """Apply every CustomResourceDefinition in the files or directories and wait until each is Established."""
        names = [self._apply_crd(crd) for path in paths for file in _yaml_files(path) for crd in _documents(file)]
        deadline = time.monotonic() + CRD_SECONDS
        for name in names:
            while not _established(self.request("GET", f"{_CRD_PATH}/{name}")):
                if time.monotonic() > deadline:
                    raise ComponentError(f"CRD {name} was not Established within {CRD_SECONDS:.0f} s; see {self.logs}.")
                time.sleep(CRD_POLL_SECONDS)

    def _apply_crd(self, crd: dict[str, Any]) -> str:
        name: str = crd["metadata"]["name"]
        path = f"{_CRD_PATH}/{name}?fieldManager={FIELD_MANAGER}&force=true"
        try:
            self.request("PATCH", path, crd, content_type="application/apply-patch+yaml", timeout=30)
        except ApiRefused as refused:
            raise ComponentError(f"CRD {name} was refused: {refused}") from refused
        return name

    def _kubeconfig(self, file: str, user: str, token: str) -> Path:
        path = self.directory / f"{re.sub(r'[^A-Za-z0-9.-]', '_', file)}.kubeconfig"
        return write_kubeconfig(path, self.url, self.ca_file, user, token)


def _yaml_files(path: Path) -> list[Path]:
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise ComponentError(f"{path} holds no CRD manifests; name a YAML file or a directory of them.")
    return files


def _documents(file: Path) -> list[dict[str, Any]]:
    documents = [document for document in yaml.load_all(file.read_text(), Loader=_LOADER) if document]
    for document in documents:
        if document.get("kind") != "CustomResourceDefinition":
            raise ComponentError(f"{file} holds a {document.get('kind')}; install_crds takes definitions only.")
    return documents


def _established(crd: Mapping[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []  # null until the server has looked at it
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
