"""Gives tests the CustomResourceDefinitions of Gateway API, Prometheus operator, cert-manager and Strimzi.

`build` takes them from the projects' own modules and artefacts.
"""

import os
from pathlib import Path

from e2e.testbed import pieces, strimzi
from e2e.testbed.errors import ComponentError


def platform_crds(*names: str) -> list[Path]:
    """Return the manifests of the definitions `names` (group_plural), or of all of them.

    Raises MissingComponent before a build and ComponentError for a name that is not there.
    """
    directory = pieces.path_of(pieces.PLATFORM_CRDS, os.environ) / "crds"
    files = [directory / f"{name}.yaml" for name in names] or sorted(directory.glob("*.yaml"))
    if absent := [file.stem for file in files if not file.is_file()]:
        raise ComponentError(f"{directory} has no {', '.join(absent)}; it has {', '.join(_stems(directory))}.")
    return files


def strimzi_crds() -> list[Path]:
    """Return the manifest of Strimzi's KafkaTopic; raises MissingComponent before a build."""
    return [pieces.path_of(pieces.STRIMZI_CRDS, os.environ) / strimzi.OUTPUT]


def _stems(directory: Path) -> list[str]:
    return sorted(file.stem for file in directory.glob("*.yaml"))
