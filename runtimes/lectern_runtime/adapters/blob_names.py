"""What names the objects of every blob store may have, so that none leads elsewhere in a directory or a bucket."""

from __future__ import annotations

import re

from lectern_contract.errors import ConfigurationError
from lectern_runtime.errors import BlobMissing

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
_NAME = re.compile(rf"{_PART}(/{_PART}){{0,3}}")


def digest(sha256: str) -> str:
    """Return `sha256`; raises BlobMissing for what is no hex digest, which no bytes can have."""
    if not _SHA256.fullmatch(sha256):
        raise BlobMissing(sha256[:64])
    return sha256


def is_name(name: str) -> bool:
    """Say whether a named object may be called so."""
    return _NAME.fullmatch(name) is not None


def name(name: str) -> str:
    """Return `name`; raises ConfigurationError for one outside the rules."""
    if not is_name(name):
        raise ConfigurationError(
            f"{name[:200]!r} cannot name an object of the blob store: use up to four parts of letters, digits, "
            "dots, hyphens and underscores, each beginning with a letter or digit, joined by slashes"
        )
    return name


def folder(prefix: str) -> str:
    """Return `prefix`, whole parts of names, each with its slash; raises ConfigurationError for all else."""
    if not (prefix.endswith("/") and is_name(prefix[:-1])):
        raise ConfigurationError(
            f"{prefix[:200]!r} cannot name a folder of the blob store: use whole parts of names, each with its slash"
        )
    return prefix
