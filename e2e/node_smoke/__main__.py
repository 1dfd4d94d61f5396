"""`make node-smoke`: builds the images, starts a real node, installs the chart, follows resources through their lives.

The table goes to standard output and to reports/node-smoke.json. NODE_RECIPE names the scripts of the node, NODE_KEEP=1
leaves it running, a node that runs already is used and left. IMAGES=0 takes the images that are there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import report
from e2e.node_smoke import checks
from e2e.node_smoke.cluster import Cluster
from e2e.node_smoke.machine_end import ROOT, machine_end
from e2e.node_smoke.recipe import Recipe, recipe
from e2e.node_smoke.sheet import Sheet
from e2e.node_smoke.stage import Stage
from e2e.testbed.errors import ComponentError
from e2e.testbed.helm import helm

TARGET = "node-smoke"
BUILD_SECONDS = 1200
DOCUMENTS = {
    "leave.md": "# Holidays\n\nA new colleague has twenty-eight days of holiday a year. Unused days end in March.\n",
    "office.md": "# Office\n\nThe office opens at seven. Keys are handed out at the reception on the ground floor.\n",
    "travel.md": "# Travel\n\nTrain tickets are booked by the travel desk. Receipts are sent in within thirty days.\n",
}


def main(environment: Mapping[str, str]) -> int:
    """Run everything; return 0 when every goal is met, 1 when not, 2 where the test cannot begin."""
    sheet = Sheet()
    try:
        node = recipe(environment.get("NODE_RECIPE", ""))
        if environment.get("IMAGES") != "0":
            sheet.timed("N0", "four images are built by buildah from the checkout", BUILD_SECONDS, lambda: _build(node))
        with _started(node, sheet, keep=bool(environment.get("NODE_KEEP"))), _staged(node) as stage:
            _follow(stage, sheet)
    except ComponentError as error:
        print(f"{TARGET}: {error}", file=sys.stderr)
        return 2
    return report.finish(
        report.Report(target=TARGET, goals=tuple(sheet.goals), machine=report.machine(), figures=_figures(node))
    )


def _follow(stage: Stage, sheet: Sheet) -> None:
    stage.namespaces()
    if checks.installed(stage, sheet):
        alive = checks.running(stage, sheet)
        checks.used(stage, sheet, alive=alive)
        checks.changed(stage, sheet, alive=alive)
        checks.restarted(stage, sheet, alive=alive)
        checks.deleted(stage, sheet)
    checks.removed(stage, sheet)
    stage.cluster.run("delete", "namespace", "team", "lectern-system", "--wait=false")
    stage.cluster.run("delete", "persistentvolume", "lectern-blobs", "handbook-files", "--ignore-not-found")


def _build(node: Recipe) -> None:
    """Build the images and lay them where the node imports from; raises ComponentError."""
    settings = {"BUILDER": node.builder, "PULL": "never", "ARCHIVES": str(node.images)}
    command = ["sh", str(ROOT / "tools" / "images.sh")]
    done = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if done.returncode != 0:
        raise ComponentError(f"the images cannot be built: {done.stderr.strip()[-2000:]}")


@contextmanager
def _started(node: Recipe, sheet: Sheet, *, keep: bool) -> Iterator[None]:
    """Have the node run within the block; it is left as it was found."""
    found = node.runs
    try:
        if found:
            node.import_images()
        elif not sheet.timed("N0", "the node is Ready, with images imported and names served", 120, node.start):
            raise ComponentError(f"the node does not start: {sheet.goals[-1].reason}")
        yield
    finally:
        if not (found or keep):
            node.stop()


@contextmanager
def _staged(node: Recipe) -> Iterator[Stage]:
    """Start what runs on the machine and lay out what the volumes hold."""
    with tempfile.TemporaryDirectory(prefix="lectern-node-smoke-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        for each in ("blobs", "documents"):
            (directory / each).mkdir()
            os.chown(directory / each, 10001, 10001)
        for file, text in DOCUMENTS.items():
            (directory / "documents" / file).write_text(text)
        with machine_end(node.address, directory / "machine") as machine:
            home = directory / "helm"
            home.mkdir()
            cluster = Cluster(node.kubectl, node.kubeconfig)
            yield Stage(node, cluster, helm(home, kubeconfig=node.kubeconfig), machine, directory)


def _figures(node: Recipe) -> dict[str, object]:
    """Return the sizes of the images' archives in MB."""
    return {file.name: f"{file.stat().st_size / 1e6:.0f} MB" for file in sorted(node.images.glob("lectern-*.tar"))}


if __name__ == "__main__":
    sys.exit(main(os.environ))
