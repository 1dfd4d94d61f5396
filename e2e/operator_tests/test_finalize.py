"""`lectern finalize` on the real API server: the operator is gone, the object is held."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from e2e.operator_tests.objects import Objects
from e2e.operator_tests.running import ROOT, eventually
from e2e.testbed.errors import ApiRefused
from lectern_contract import names
from lectern_operator_tests import worlds


def finalize(objects: Objects, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": str(objects.plane.kubeconfig), "PYTHONPATH": str(ROOT / "runtimes")}
    command = [sys.executable, "-m", "lectern_cli.main", "finalize", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def gone(objects: Objects) -> bool:
    try:
        objects.get("KnowledgeBase", "docs")
    except ApiRefused as refused:
        return refused.status == 404
    return False


@pytest.fixture
def held(objects: Objects) -> None:
    body = worlds.KNOWLEDGE_BASE
    objects.create({**body, "metadata": {"name": "docs", "finalizers": [names.FINALIZER]}})


@pytest.mark.usefixtures("held")
def test_a_living_object_is_refused_and_a_deleted_one_goes(objects: Objects) -> None:
    refused = finalize(objects, "kb", "docs", "-n", objects.namespace)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is not being deleted" in refused.stderr
    objects.delete("KnowledgeBase", "docs")
    assert not gone(objects)
    freed = finalize(objects, "kb", "docs", "-n", objects.namespace)
    assert freed.returncode == 0, freed.stderr
    assert freed.stdout.startswith(f"{objects.namespace}/docs is free")
    eventually(lambda: gone(objects), 5)


@pytest.mark.usefixtures("held")
def test_all_of_a_namespace_go(objects: Objects) -> None:
    objects.delete("KnowledgeBase", "docs")
    freed = finalize(objects, "--all", "-n", objects.namespace)
    assert (freed.returncode, freed.stderr) == (0, "")
    eventually(lambda: gone(objects), 5)


def test_no_cluster_is_one_sentence(objects: Objects) -> None:
    environment = {**os.environ, "KUBECONFIG": "/nowhere", "HOME": "/nowhere", "PYTHONPATH": str(ROOT / "runtimes")}
    command = [sys.executable, "-m", "lectern_cli.main", "finalize", "--all"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
