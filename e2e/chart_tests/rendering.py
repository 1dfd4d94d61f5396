"""What the chart and the Kustomize base come to: manifests by kind and name, and the parts that tests look at."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from e2e.testbed import pieces
from e2e.testbed.helm import Helm

Manifest = dict[str, Any]
ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "lectern"
BASE = ROOT / "config" / "kustomize" / "base"
VALUES = Path(__file__).with_name("values")
RELEASE = "lectern"
NAMESPACE = "lectern-system"
SERVICE_MONITOR = "monitoring.coreos.com/v1/ServiceMonitor"
VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "everything": ("-f", str(VALUES / "everything.yaml"), "--api-versions", SERVICE_MONITOR),
    "namespaced": ("-f", str(VALUES / "namespaced.yaml")),
}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def rendered(helm: Helm, *arguments: str) -> list[Manifest]:
    """Return the manifests that `helm template` makes with `arguments`, hooks and definitions included."""
    return documents(helm.run("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments))


def kustomized(directory: Path) -> list[Manifest]:
    """Return the manifests that `kubectl kustomize` makes of `directory`; no cluster is asked."""
    kubectl = pieces.binaries(os.environ) / "kubectl"
    command = [str(kubectl), "kustomize", str(directory)]
    return documents(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


def documents(text: str) -> list[Manifest]:
    """Return the manifests in a stream of YAML."""
    return [each for each in yaml.load_all(text, Loader=_LOADER) if each]


def by_key(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """Return manifests by kind, namespace and name; refuses two of one key."""
    result: dict[str, Manifest] = {}
    for each in manifests:
        key = "/".join([each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]])
        assert key not in result, f"{key} is there twice"
        result[key] = each
    return result


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    """Return the manifests of these kinds."""
    return [each for each in manifests if each["kind"] in kinds]


def pods(manifests: Iterable[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield every pod that the manifests lead to, as (what makes it, template or pod)."""
    for each in manifests:
        match each["kind"]:
            case "Pod":
                yield f"Pod/{each['metadata']['name']}", each
            case "Deployment" | "Job":
                yield f"{each['kind']}/{each['metadata']['name']}", each["spec"]["template"]
