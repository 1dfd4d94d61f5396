"""Starts the real command many times without its second of imports: a process that has them forks for each start.

Run as `python -m e2e.journeys.warm`. Each line on standard input is `[arguments, file for the output]` as JSON;
the id of the process that was started comes back as a line. The caller ends it by that id. Nothing is opened
before the fork: what runs then is the command's own `main`, exactly as in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from e2e.journeys.command import ROOT, environment


@contextlib.contextmanager
def starter() -> Iterator[Callable[[Sequence[str], Path], int]]:
    """A function that starts `lectern ARGUMENTS`, writes its output to a file, and returns its process id."""
    paths = os.pathsep.join((str(ROOT), environment()["PYTHONPATH"]))
    with subprocess.Popen(
        [sys.executable, "-m", "e2e.journeys.warm"],
        env=environment({"PYTHONPATH": paths}),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def start(arguments: Sequence[str], output: Path) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps([list(arguments), str(output)]) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        try:
            yield start
        finally:
            process.stdin.close()  # it ends with its input
            process.wait(30)


def main() -> None:
    """Fork once for each line; the one before must have ended by then."""
    from lectern_cli import embedded, serve  # noqa: F401 imported here so that no child has to
    from lectern_cli.main import main as command
    from lectern_runtime.adapters import directory, edge, onnx, sqlite_log  # noqa: F401 likewise

    child = 0
    for line in sys.stdin:
        if child:
            os.waitpid(child, 0)
        arguments, output = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(output)
            sys.argv = ["lectern", *arguments]
            command()
            sys.exit(0)
        print(child, flush=True)
    if child:
        os.waitpid(child, 0)


def _become(output: str) -> None:
    """Give a child its own output, and nothing of the driver's pipes."""
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)


if __name__ == "__main__":
    main()
