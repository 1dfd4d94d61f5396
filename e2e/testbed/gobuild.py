"""Runs a toolchain on a pinned manifest, with progress, a log, a time limit and errors that a user can act on.

A recipe in `pieces` gets a `Workshop`; its steps end in files below `target`. Nothing here knows what is built. The
steps of Go are here, those of other tools (see `maven`) go through `run`.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.testbed.errors import ComponentError

PROGRESS_SECONDS = 30.0
POLL_SECONDS = 0.2
TIME_LIMIT_SECONDS = 3600.0
TAIL_LINES = 15


@dataclass(frozen=True)
class Workshop:
    """One build under way by `tool`: `source` holds a copy of the manifest, `target` becomes the product."""

    tool: Path
    source: Path
    target: Path
    log: Path
    environment: Mapping[str, str]
    say: Callable[[str], None]

    def go_build(self, link_flags: str, output: str, *packages: str) -> None:
        """Compile and link `packages` as pinned by the manifest into `output`."""
        names = ", ".join(package.removesuffix("/v3").rsplit("/", 1)[-1] for package in packages)
        command = ["build", "-v", "-trimpath", f"-ldflags={link_flags}", "-o", output, *packages]
        self._go(command, f"compile {names}")

    def module_directory(self, module: str) -> Path:
        """Download `module` in the version of the manifest and return its directory in the module cache."""
        output = self._go(["mod", "download", "-json", module], f"download {module}")
        return Path(json.loads(output[output.index("{") :])["Dir"])  # notes on stderr may come before the answer

    def _go(self, arguments: list[str], what: str) -> str:
        environment = {
            **self.environment,
            "CGO_ENABLED": "0",  # static binaries, and no C compiler needed
            "GOFLAGS": "-mod=readonly",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        return self.run(arguments, what, environment, _cause, _compiled)

    def run(
        self,
        arguments: list[str],
        what: str,
        environment: Mapping[str, str],
        cause: Callable[[str, int], str],
        progress: Callable[[Path], str],
    ) -> str:
        """Run the tool and return what it wrote; `cause` words a failure from that, `progress` from the log so far."""
        with self.log.open("ab") as log:
            before = log.tell()
            process = subprocess.Popen(
                [self.tool, *arguments],
                cwd=self.source,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = self._await(process, what, progress)
            except BaseException:
                _end(process)
                raise
        output = self.log.read_bytes()[before:].decode(errors="replace")
        if status != 0:
            tail = "\n  ".join(output.strip().splitlines()[-TAIL_LINES:])
            raise ComponentError(f"Could not {what}: {cause(output, status)} Log {self.log} ends with\n  {tail}")
        return output

    def _await(self, process: subprocess.Popen[bytes], what: str, progress: Callable[[Path], str]) -> int:
        start = time.monotonic()
        next_line = start + PROGRESS_SECONDS
        while (status := process.poll()) is None:
            time.sleep(POLL_SECONDS)
            now = time.monotonic()
            if now >= next_line:
                next_line += PROGRESS_SECONDS
                self.say(f"  {elapsed(now - start)}: {what}{progress(self.log)}")
            if now - start > TIME_LIMIT_SECONDS:
                raise ComponentError(
                    f"Could not {what} within {elapsed(TIME_LIMIT_SECONDS)}; see {self.log}, free the machine, "
                    f"and build again (what was compiled is kept)."
                )
        self.say(f"  {elapsed(time.monotonic() - start)}: {what}: {'done' if status == 0 else 'failed'}")
        return status


def elapsed(seconds: float) -> str:
    """Write a duration as minutes and seconds."""
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _compiled(log: Path) -> str:
    # `go build -v` writes one line without blanks for each package that it compiles
    return f"; {sum(1 for line in log.read_bytes().splitlines() if line and b' ' not in line)} packages compiled"


def _cause(output: str, status: int) -> str:
    lowered = output.lower()
    if "no space left on device" in lowered:
        return "the disk is full; free several GB (the Go build cache, `go env GOCACHE`, needs about 3 GB)."
    if any(word in lowered for word in ("dial tcp", "no such host", "i/o timeout", "tls handshake", "403 forbidden")):
        return "the Go module proxy was not reached; check the network and `go env GOPROXY`, then build again."
    if "checksum mismatch" in lowered or "missing go.sum entry" in lowered:
        return "a module differs from the pinned go.sum; restore go.mod and go.sum from version control."
    if "signal: killed" in lowered or status == -signal.SIGKILL:
        return "a compiler was killed, most likely for want of memory; free 3 GB and build again."
    return f"go ended with status {status}; the lines below tell the cause, and a second try keeps what was compiled."


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the tool and what it started (compilers share its process group)."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=5)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
