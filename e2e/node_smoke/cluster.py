"""A cluster through kubectl: objects as JSON, and pods asked at their own addresses."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.testbed.errors import KubectlFailed

COMMAND_SECONDS = 60
ANSWER_SECONDS = 5
POLL_SECONDS = 0.25
Body = dict[str, Any]


class Unmet(Exception):
    """What a check expects did not come about in time; the text says what was seen instead."""


def until(holds: Callable[[], object], seconds: float, otherwise: Callable[[], object]) -> None:
    """Wait until `holds()` is true; raise Unmet after `seconds` with what `otherwise` says."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Unmet(f"not so after {seconds:.0f} s: {otherwise()}")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class Cluster:
    """Where kubectl is and whom it speaks to."""

    kubectl: Path
    kubeconfig: Path

    def run(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl and return what it printed; raises KubectlFailed."""
        command = [str(self.kubectl), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        if done.returncode != 0:
            raise KubectlFailed(f"`kubectl {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout

    def apply(self, text: str, namespace: str) -> None:
        """Apply manifests."""
        self.run("apply", "--server-side", f"--namespace={namespace}", "--filename=-", given=text)

    def objects(self, kinds: str, namespace: str, selector: str = "") -> list[Body]:
        """Return the objects of these kinds, by commas."""
        arguments = ["get", kinds, f"--namespace={namespace}", "--output=json"]
        found = json.loads(self.run(*arguments, *([f"--selector={selector}"] if selector else [])))
        items: list[Body] = found["items"]
        return items

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """Return one object, None where there is none."""
        text = self.run("get", kind, name, f"--namespace={namespace}", "--output=json", "--ignore-not-found")
        found: Body | None = json.loads(text) if text.strip() else None
        return found

    def pods(self, namespace: str, selector: str) -> list[Body]:
        """Return the pods that live and are not being deleted, by name."""
        found = self.objects("pods", namespace, selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Say whether a pod is Ready."""
    found = pod.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in found)


def answer(pod: Mapping[str, Any], path: str) -> tuple[int, bytes]:
    """Ask a pod at its own address, port 8080; status 0 where nobody answers."""
    address = pod.get("status", {}).get("podIP")
    if not address:
        return 0, b"the pod has no address yet"
    return fetch(f"http://{address}:8080{path}")


def fetch(url: str, body: object | None = None) -> tuple[int, bytes]:
    """GET, or POST `body` as JSON; status 0 where nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"} if data else {})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as reply:
            return int(reply.status), reply.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()
    except OSError as error:
        return 0, str(error).encode()


def conditions(body: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    """Return status, reason and message of every condition of a resource that is about its present generation."""
    generation = body["metadata"]["generation"]
    found = body.get("status", {}).get("conditions", ())
    return {
        each["type"]: (each["status"], each["reason"], each.get("message", ""))
        for each in found
        if each.get("observedGeneration") == generation
    }
