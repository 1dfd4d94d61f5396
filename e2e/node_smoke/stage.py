"""The two namespaces of the smoke test: what is put into them, and how the checks look at it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from e2e.node_smoke.cluster import Body, Cluster, answer, conditions, is_ready
from e2e.node_smoke.machine_end import MachineEnd
from e2e.node_smoke.recipe import Recipe
from e2e.testbed.helm import Helm
from lectern_contract import labels
from lectern_runtime_tests.ingest.git_server import PASSWORD, USERNAME

SYSTEM, TEAM = "lectern-system", "team"
OPERATOR = "app.kubernetes.io/component=operator"
SAMPLES = Path(__file__).parent / "samples"
RUNTIMES = ("worker", "query")
OWNED = (
    "configmaps,cronjobs,deployments,horizontalpodautoscalers,jobs,networkpolicies,persistentvolumeclaims,"
    "poddisruptionbudgets,pods,replicasets,secrets,serviceaccounts,services"
)
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@dataclass(frozen=True)
class Stage:
    """Everything that the checks use; `directory` is the machine's, shared with the node's volumes."""

    recipe: Recipe
    cluster: Cluster
    helm: Helm
    machine: MachineEnd
    directory: Path

    def namespaces(self) -> None:
        """Make both namespaces; only restricted pods may run in them."""
        for name in (SYSTEM, TEAM):
            body = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": RESTRICTED},
            }
            self.cluster.apply(json.dumps(body), "default")

    def sample(self, name: str) -> None:
        """Apply one of the samples."""
        text = Template((SAMPLES / f"{name}.yaml").read_text()).substitute(
            kafka=self.machine.kafka,
            qdrant=self.machine.qdrant,
            embedder=self.machine.embedder,
            git=self.machine.git,
            git_authority=_encoded(self.machine.git_authority.read_bytes()),
            git_username=_encoded(USERNAME.encode()),
            git_password=_encoded(PASSWORD.encode()),
            directory=str(self.directory),
        )
        self.cluster.apply(text, TEAM)

    def patch(self, kind: str, name: str, patch: Mapping[str, object]) -> None:
        """Change a resource as a person would."""
        self.cluster.run("patch", kind, name, f"--namespace={TEAM}", "--type=merge", f"--patch={json.dumps(patch)}")

    def operator(self) -> Body:
        """Return the operator's pod, the newest; an empty body where there is none."""
        pods = self.cluster.pods(SYSTEM, OPERATOR)
        return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default={})

    def pods(self, role: str) -> list[Body]:
        """Return the pods of one role."""
        return self.cluster.pods(TEAM, f"{labels.ROLE}={role}")

    def settings_digest(self, pod: Body) -> str:
        """Return the hash of the settings file in the ConfigMap that `pod` mounts."""
        (name,) = [each["configMap"]["name"] for each in pod["spec"]["volumes"] if each["name"] == "settings"]
        found = self.cluster.get("configmap", TEAM, name)
        return hashlib.sha256(found["data"]["settings.json"].encode()).hexdigest() if found else ""

    def loaded(self, role: str) -> dict[str, str]:
        """Return what each pod of `role` says at /configz: the hash by the pod's name, or what went wrong."""
        found = {}
        for pod in self.pods(role):
            status, body = answer(pod, "/configz")
            told = (
                json.loads(body)["config_hash"] if status == 200 else f"{status} {body[:80].decode(errors='replace')}"
            )
            found[pod["metadata"]["name"]] = str(told)
        return found

    def condition(self, kind: str, name: str, aspect: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition about the present generation; empty where there is none."""
        body = self.cluster.get(kind, TEAM, name)
        return conditions(body).get(aspect, ("", "", "")) if body else ("", "", "")

    def owned(self) -> list[str]:
        """Return everything in the team's namespace that a Lectern resource owns, and what these own."""
        found = []
        for each in self.cluster.objects(OWNED, TEAM):
            marks = each["metadata"].get("labels", {})
            if labels.OWNER_UID in marks or labels.ROLE in marks:
                found.append(f"{each['kind']}/{each['metadata']['name']}")
        return sorted(found)

    def versions(self) -> dict[str, str]:
        """Return the resource version of everything that the operator writes, events left out."""
        found = [*self.cluster.objects(OWNED, TEAM), *self.cluster.objects("kb,isrc,rag", TEAM)]
        return {
            f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
            for each in found
            if each["kind"] not in ("Pod", "ReplicaSet")
        }

    def writes(self) -> dict[str, float]:
        """Return the requests of the running operator that were no reads, Lease and Events left out."""
        status, body = answer(self.operator(), "/metrics")
        if status != 200:
            return {"/metrics does not answer": 1.0}
        lines = [line for line in body.decode().splitlines() if line.startswith("lectern_operator_api_calls_total{")]
        found = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
        ignored = ('verb="GET"', 'kind="Lease"', 'kind="Event"')
        return {name: value for name, value in found.items() if not any(mark in name for mark in ignored)}

    def passes(self) -> float:
        """Return how many passes the running operator has made."""
        _, body = answer(self.operator(), "/metrics")
        lines = [line for line in body.decode().splitlines() if line.startswith("lectern_operator_reconciles_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def healthy(self) -> bool:
        """Say whether the operator's pod is Ready and answers."""
        pod = self.operator()
        return bool(pod) and is_ready(pod) and answer(pod, "/healthz")[0] == 200

    def said(self) -> str:
        """Return what the resources say that is not as it should be, and how the pods are."""
        lines = []
        for each in self.cluster.objects("kb,isrc,rag", TEAM):
            lines += [
                f"{each['kind']} {aspect}={status} {reason}: {message}"
                for aspect, (status, reason, message) in conditions(each).items()
                if status != ("False" if aspect in ("Stalled", "Reconciling") else "True")
            ]
        for pod in self.cluster.objects("pods", TEAM):
            restarts = sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ()))
            lines.append(f"Pod {pod['metadata']['name']} {pod['status']['phase']} restarts={restarts}")
        return "; ".join(lines)


def _encoded(data: bytes) -> str:
    """Return what a Secret's `data` holds."""
    return base64.b64encode(data).decode()
