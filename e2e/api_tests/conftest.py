"""One installation of the committed definitions and one connection for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.api_tests.api import Api, client
from e2e.api_tests.samples import REPOSITORY
from e2e.testbed.control_plane import ControlPlane

NAMESPACE = "definitions"


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    """Install what is committed in `crds/` and yield a connection to a namespace for these tests."""
    control_plane.install_crds(REPOSITORY / "crds")
    control_plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    with client(control_plane) as connection:
        yield Api(connection, NAMESPACE)
