"""The namespace of a test of the testbed itself."""

import pytest

from e2e.testbed.control_plane import ControlPlane
from e2e.testbed_tests.world import World


@pytest.fixture
def world(control_plane: ControlPlane, namespace: str) -> World:
    """Return short ways to what is in the test's namespace."""
    return World(control_plane, namespace)
