"""Turns what git complains of into an error with a next step, without the addresses and credentials in its words.

Pure. git runs with the C locale, so that its words are these; what a server adds (`remote: ...`) is not repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lectern_runtime.ingest.connector import SourceUnavailable
from lectern_runtime.ingest.retries import TryAgain

UNFILTERED = "filtering not recognized by server"
"""What git says where the server sends whole files though none were asked for."""
_MAX_WORDS = 200
_TOO_LARGE = re.compile(r"died of signal 25|File size limit exceeded|File too large", re.IGNORECASE)
_FOR_GOOD: tuple[tuple[str, str], ...] = (
    (
        r"Authentication failed|could not read (Username|Password)|returned error: 40[13]|HTTP 40[13]|"
        r"Permission denied \(|invalid credentials|terminal prompts disabled",
        "the remote does not accept the credentials; correct the Secret of spec.git.credentialsSecretRef and what its "
        "user may read",
    ),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the remote shows an ssh key that knownHosts does not hold; compare it with its owner and correct knownHosts",
    ),
    (
        r"No user exists for uid",
        "ssh finds no user for the id that this program runs as; run it as a user of the image",
    ),
    (
        r"server certificate verification failed|SSL certificate problem|certificate subject name|"
        r"no alternative certificate subject name|error setting certificate|CAfile",
        "the remote shows a certificate that is not trusted; set spec.git.caSecretRef",
    ),
    (
        r"[Rr]epository .*not found|does not appear to be a git repository|returned error: 404|HTTP 404|"
        r"not valid: is this a git repository",
        "there is no repository that this user may read; correct spec.git.url or the credentials",
    ),
    (
        r"transport '.*' not allowed|[Pp]rotocol .*(not allowed|disabled)",
        "it leads to another protocol than https and ssh; correct spec.git.url",
    ),
    (
        r"does not allow request for unadvertised object",
        "the server gives only what a branch or tag names; let it answer git's protocol 2, or name a branch or tag",
    ),
    (r"dumb http transport", "the server speaks git's old file protocol only; use one that speaks smart HTTP"),
    (r"unable to create thread|Cannot allocate memory|out of memory", "memory was short; raise spec.resources"),
    (r"No space left on device|Disk quota exceeded", "the temporary directory is full; give it more space"),
)
_MOVED = re.compile(r"not our ref|couldn't find remote ref")
_PASSING = re.compile(
    r"returned error: (408|429|5\d\d)|HTTP (408|429|5\d\d)|Could not resolve host|Failed to connect|[Cc]onnection "
    r"(refused|reset|timed out|closed)|timed out|early EOF|hung up unexpectedly|RPC failed|unexpected disconnect|"
    r"Operation too slow|[Tt]emporary failure|Network is unreachable|No route to host|Empty reply|GnuTLS recv error|"
    r"transfer closed|bad pack header|Could not read from remote repository"
)


def is_too_large(errors: str) -> bool:
    """Whether git was ended because it wrote more than it may."""
    return _TOO_LARGE.search(errors) is not None


def has_moved(errors: str) -> bool:
    """Whether the remote no longer has what its own list named: somebody pushed meanwhile."""
    return _MOVED.search(errors) is not None


def fault(what: str, errors: str, *, hidden: Sequence[str] = ()) -> SourceUnavailable:
    """The error for a command that failed: `TryAgain` where it may pass. `hidden` are texts that nobody may see."""
    for pattern, told in _FOR_GOOD:
        if re.search(pattern, errors):
            return SourceUnavailable(f"{what}: {told}")
    said = _words(errors, hidden)
    if _PASSING.search(errors):
        return TryAgain(f"{what}: the remote cannot be reached or broke off ({said}); see that it runs")
    return SourceUnavailable(f"{what}: git says {said}; correct spec.git, or see the remote")


def silent(what: str, seconds: float) -> SourceUnavailable:
    """The error for a command that did not end; one to which nothing comes at all is given up sooner and run again."""
    return SourceUnavailable(f"{what}: the remote did not end its answer in {seconds:.0f} s; see its load")


def _words(errors: str, hidden: Sequence[str]) -> str:
    """The first line by which git itself names its fault, without addresses."""
    lines = [line for line in errors.splitlines() if line.startswith(("fatal:", "error:", "ssh:"))]
    words = lines[0] if lines else "nothing of the cause"
    for secret in sorted((each for each in hidden if each), key=len, reverse=True):
        words = words.replace(secret, "(hidden)")
    words = re.sub(r"\S*(://|@)\S*", "(address)", words)
    return "".join(each if each.isprintable() else " " for each in words)[:_MAX_WORDS]
