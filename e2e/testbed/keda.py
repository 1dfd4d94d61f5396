"""Gives tests the CustomResourceDefinitions of the real KEDA, taken from its Go module by `build`."""

import os
from pathlib import Path

from e2e.testbed import pieces


def keda_crds() -> list[Path]:
    """Return KEDA's CRD manifests, for `plane.install_crds(*keda_crds())`; raises MissingComponent before a build."""
    return sorted((pieces.path_of(pieces.KEDA_CRDS, os.environ) / "crds").glob("*.yaml"))
