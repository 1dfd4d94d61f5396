"""Helm with a home of its own, and a control plane in which releases come and go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.testbed.control_plane import ControlPlane
from e2e.testbed.control_plane import control_plane as start_control_plane
from e2e.testbed.helm import Helm, helm


@pytest.fixture(scope="session")
def helm_alone(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Return helm without a cluster."""
    return helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="package")
def control_plane() -> Iterator[ControlPlane]:
    """Start a control plane in which nothing is installed."""
    with start_control_plane() as plane:
        yield plane


@pytest.fixture
def admin(control_plane: ControlPlane, tmp_path: Path) -> Helm:
    """Return helm for the cluster's administrator."""
    return helm(tmp_path, control_plane)
