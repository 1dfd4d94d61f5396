"""Names the places where tests let a worker or a connector die, and sets one of them from the environment.

Each program's main reads the environment once and hands one callable to all that write outside; each calls it right
before it does. `FAILPOINTS` are the worker's, in the order in which a document comes past them; those of a
connector's run stand in `ingest/failpoints.py`. Without `LECTERN_FAILPOINTS_ALLOWED=1`, which the operator never
sets, nothing here does anything.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lectern_contract.errors import ConfigurationError, DependencyError

FAILPOINTS: tuple[str, ...] = (
    "fetch",
    "parse",
    "mask",
    "chunk",
    "embed",
    "upsert",
    "delete-older",
    "record",
    "read-back",
    "withdraw-late",
    "dead-letter",
    "event",
    "commit",
)
VARIABLE = "LECTERN_FAILPOINT"
ALLOWED = "LECTERN_FAILPOINTS_ALLOWED"
Failpoint = Callable[[str], None]
_FORM = re.compile(r"(?P<name>[a-z-]{1,32})(?P<error>:error)?(?::(?P<nth>[1-9][0-9]{0,8}))?")
_DEPENDENCIES = {
    "fetch": "blob-store",
    "parse": "parser",
    "chunk": "embedder",
    "embed": "embedder",
    "dead-letter": "log",
    "event": "log",
    "commit": "log",
}


def no_failpoint(_name: str) -> None:
    """Let everything pass."""


@dataclass(slots=True)
class SetFailpoint:
    """Kills this process at the `nth` time, from 1, that it comes past `name`; or raises DependencyError that once."""

    name: str
    nth: int = 1
    error: bool = False
    _passed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False)

    def __call__(self, name: str) -> None:
        """Come past `name`, from any thread."""
        if name != self.name:
            return
        with self._lock:
            self._passed += 1
            due = self._passed == self.nth
        if due and self.error:
            raise DependencyError(
                f"the failpoint {name!r} failed as {VARIABLE} asks; unset it to work",
                dependency=_DEPENDENCIES.get(name, "vector-store"),
            )
        if due:
            os.kill(os.getpid(), signal.SIGKILL)


def from_environment(environ: Mapping[str, str], names: Sequence[str] = FAILPOINTS) -> Failpoint:
    """Return the failpoint that `LECTERN_FAILPOINT` sets among `names`: `NAME`, `NAME:N` or `NAME:error:N`.

    The first two end this process by SIGKILL at the N-th time that it comes past NAME, the last raises a
    DependencyError there. Raises ConfigurationError for any other form or name.
    """
    asked = environ.get(VARIABLE, "")
    if environ.get(ALLOWED) != "1" or not asked:
        return no_failpoint
    form = _FORM.fullmatch(asked)
    if form is None or form["name"] not in names:
        raise ConfigurationError(
            f"{VARIABLE} is {asked[:64]!r}; write NAME, NAME:N or NAME:error:N with one of {', '.join(names)}"
        )
    return SetFailpoint(form["name"], int(form["nth"] or 1), error=form["error"] is not None)
