"""The recipe of a one-node cluster: a directory of scripts that lies outside this repository, named by NODE_RECIPE.

It holds `env.sh` (settings), `start.sh` and `stop.sh`, and keeps images as OCI archives in `$W/images`.
docs/node-smoke.md says what the scripts have to do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.testbed.errors import ComponentError, MissingComponent

SCRIPTS = ("env.sh", "start.sh", "stop.sh")
SETTINGS = ("W", "NS", "NODE", "HOST_IP", "BIN", "KUBECONFIG")
SETTINGS_SECONDS = 10
START_SECONDS = 300
STOP_SECONDS = 120
KILL_SECONDS = 30
IMPORT_SECONDS = 300


@dataclass(frozen=True)
class Recipe:
    """The scripts, and where they put things: `settings` are the shell's variables by name."""

    scripts: Path
    settings: Mapping[str, str]

    @property
    def work(self) -> Path:
        """The node's work directory."""
        return Path(self.settings["W"])

    @property
    def images(self) -> Path:
        """Archives that the node imports when it starts."""
        return self.work / "images"

    @property
    def address(self) -> str:
        """The machine's own address, as pods reach it."""
        return self.settings["HOST_IP"]

    @property
    def kubectl(self) -> Path:
        """The program."""
        return Path(self.settings["BIN"]) / "kubectl"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in."""
        return Path(self.settings["KUBECONFIG"])

    @property
    def builder(self) -> str:
        """How buildah is called, so that it finds the base image that the recipe has made."""
        storage = f"--root {self.work}/buildah --runroot {self.work}/buildah-run --storage-driver overlay"
        return f"buildah {storage}"

    @property
    def runs(self) -> bool:
        """Whether the node has been started already."""
        return (Path("/run/netns") / self.settings["NS"]).exists()

    def start(self) -> None:
        """Start the node and import its images; raises ComponentError."""
        (self.work / "logs").mkdir(parents=True, exist_ok=True)
        certificates = Path(__file__).with_name("openssl.cnf")
        _run(["env", f"OPENSSL_CONF={certificates}", "bash", self.scripts / "start.sh"], START_SECONDS)

    def stop(self) -> None:
        """Stop the node and forget the cluster's state, keep the imported images; raises ComponentError."""
        _run(["bash", self.scripts / "stop.sh", "--fresh"], STOP_SECONDS)

    def import_images(self) -> None:
        """Give a node that runs the archives that are new; raises ComponentError."""
        self._shell("import_images", seconds=IMPORT_SECONDS)

    def kill(self, container: str) -> None:
        """SIGKILL the first process of a container, by its id; raises ComponentError."""
        self._shell('ctr_ task kill -s SIGKILL "$1"', container, seconds=KILL_SECONDS)

    def _shell(self, script: str, *arguments: str, seconds: float) -> None:
        prepared = f'set -e; here={self.scripts}; . "$here/env.sh"; {script}'
        _run(["bash", "-c", prepared, "node-smoke", *arguments], seconds)


def recipe(named: str) -> Recipe:
    """Read the recipe in the directory `named`; raises MissingComponent, which says what is missing."""
    if not named:
        raise MissingComponent("NODE_RECIPE names no recipe of a node; set it, docs/node-smoke.md says what it holds")
    directory = Path(named)
    missing = [name for name in SCRIPTS if not (directory / name).is_file()]
    if missing:
        raise MissingComponent(
            f"there is no recipe of a node in {directory} ({', '.join(missing)} missing); name its directory with "
            "NODE_RECIPE=..., docs/node-smoke.md says what it holds"
        )
    scripts = directory.resolve()
    told = "; ".join(f'printf "%s\\n" "${name}"' for name in SETTINGS)
    lines = _run(["bash", "-c", f'here={scripts}; . "$here/env.sh"; {told}'], SETTINGS_SECONDS).splitlines()
    found = Recipe(scripts, dict(zip(SETTINGS, lines, strict=True)))
    if not found.kubectl.is_file():
        raise MissingComponent(f"{found.kubectl} is not there; build the node's programs with the recipe's build.sh")
    if not (found.images / "base.tar").is_file():
        raise MissingComponent(f"{found.images} holds no base image; make it with the recipe's images.sh")
    return found


def _run(command: list[str | Path], seconds: float) -> str:
    """Run a script and return what it printed; raises ComponentError with its last lines."""
    said = " ".join(str(each) for each in command[:3])
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise ComponentError(
            f"{said} took more than {seconds:.0f} s; see the logs in the node's work directory"
        ) from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise ComponentError(f"{said} ended with status {done.returncode}:\n{tail}")
    return done.stdout
