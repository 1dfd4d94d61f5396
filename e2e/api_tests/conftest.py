"""One installation of the committed definitions and one connection for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.api_tests.api import Api, client
from e2e.testbed.control_plane import ControlPlane
from lectern_contract import resources
from lectern_contract.resources import AnyResource

REPOSITORY = Path(__file__).resolve().parents[2]
NAMESPACE = "definitions"
SAMPLES = REPOSITORY / "config" / "samples"


def documents(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every document of a Lectern kind below `folder`, by file and name."""
    found = []
    for file in sorted(folder.rglob("*.yaml")):
        for sample in yaml.safe_load_all(file.read_text()):
            if isinstance(sample, dict) and sample.get("apiVersion") == resources.API_VERSION:
                found.append((f"{file.relative_to(folder)}:{sample['metadata']['name']}", sample))
    return found


def dumped(resource: AnyResource) -> dict[str, Any]:
    """The spec as the model completes it, as the server would write it."""
    return resource.spec.model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    """Install what is committed in `crds/` and yield a connection to a namespace for these tests."""
    control_plane.install_crds(REPOSITORY / "crds")
    control_plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    with client(control_plane) as connection:
        yield Api(connection, NAMESPACE)
