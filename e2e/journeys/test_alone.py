"""Without a network, and with everything that is installed already: nothing is fetched and nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from e2e.journeys import corpus
from e2e.journeys.command import ROOT, environment
from e2e.journeys.corpus import Laptop

# Runs the command with every attempt to leave this machine written to a file and refused.
_WATCHED = """
import sys
def refuse(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        place = arguments[1]
    elif event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "localhost", "::1", None, ""):
        place = arguments[0]
    else:
        return
    open(REPORT, "a").write(f"{event} {place}\\n")
    raise PermissionError(f"{event} {place}")
REPORT = sys.argv.pop(1)
sys.addaudithook(refuse)
from lectern_cli.main import main
main()
"""
_OWN_NETWORK = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
_DEAD = "http://127.0.0.1:9"


def _isolation() -> tuple[str, ...]:
    """A prefix that leaves the command only a loopback interface of its own, where the kernel allows that."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return ()
    tried = subprocess.run([*_OWN_NETWORK, "true"], capture_output=True, timeout=30, check=False)
    return _OWN_NETWORK if tried.returncode == 0 else ()


def test_the_demo_needs_no_network_at_all(laptop: Laptop, tmp_path: Path) -> None:
    corpus.write_documents(laptop.documents, 4)
    questions = tmp_path / "questions.yaml"
    questions.write_text(
        "".join(f"- question: {corpus.question(n)}\n  document: {corpus.path_of(n)}\n" for n in range(4))
        + "- question: How do I renew a passport in Portugal?\n  refused: true\n"
    )
    report = tmp_path / "attempts.txt"
    arguments = (*laptop.arguments[:-2], "--questions", str(questions))

    done = subprocess.run(
        [*_isolation(), sys.executable, "-c", _WATCHED, str(report), "demo", *arguments],
        env=environment({"HTTP_PROXY": _DEAD, "HTTPS_PROXY": _DEAD, "ALL_PROXY": _DEAD}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("demo: 5/5 answered from the expected document")
    assert not report.exists(), report.read_text()


def test_make_demo_installs_nothing_once_it_is_installed(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements", "tools"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    then = time.time() + 10
    for number, stamp in enumerate((".tools/.installed", ".venv-local/.packages", ".venv-local/.project")):
        path = tmp_path / stamp
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (then + number, then + number))

    planned = subprocess.run(
        ["make", "--no-print-directory", "-n", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout.splitlines()

    assert len(planned) == 1, planned
    assert ".venv-local/bin/lectern demo -f config/samples/quickstart" in planned[0]
