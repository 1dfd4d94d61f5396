"""Runs the real helm, built by `build` from its Go module, against a control plane or without one."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e.testbed import pieces
from e2e.testbed.errors import ComponentError
from e2e.testbed.plane import ControlPlane

SECONDS = 120.0


class HelmFailed(ComponentError):
    """Helm ended with a status other than 0; the text is what it said."""


@dataclass(frozen=True)
class Helm:
    """One user of helm with caches and settings of its own below `home`; without `kubeconfig` it reaches no cluster."""

    home: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str, timeout: float = SECONDS) -> str:
        """Run helm with `arguments` and return its standard output; raises HelmFailed."""
        program = pieces.path_of(pieces.HELM, os.environ) / "bin" / "helm"
        environment = {"HOME": str(self.home), "PATH": os.environ.get("PATH", "")}
        environment["KUBECONFIG"] = str(self.kubeconfig or self.home / "none")
        try:
            done = subprocess.run(
                [program, *arguments], env=environment, capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise HelmFailed(f"`helm {' '.join(arguments)}` took more than {timeout:.0f} s") from error
        if done.returncode != 0:
            raise HelmFailed(f"`helm {' '.join(arguments)}` ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def helm(home: Path, plane: ControlPlane | None = None, *, kubeconfig: Path | None = None) -> Helm:
    """Return helm for the administrator of `plane`, for whom `kubeconfig` names, or for nobody's cluster."""
    return Helm(home, kubeconfig or (plane.kubeconfig if plane is not None else None))
