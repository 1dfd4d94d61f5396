"""Decides which paths of a source are documents: globs to include and to exclude.

`handover.py` asks for each listed path. A glob is matched part by part with the standard library's
translation, whose expressions cannot backtrack without end, and `**` stands for any number of folders.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from functools import lru_cache

Part = re.Pattern[str] | None
"""One part of a glob; None is `**`."""


class Selection:
    """Paths that match one of `include` and none of `exclude`."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = [_parts(glob) for glob in include]
        self._exclude = [_parts(glob) for glob in exclude]

    def admits(self, path: str) -> bool:
        """Whether `path` (parts between `/`) is a document."""
        names = path.split("/")
        return any(_match(glob, names) for glob in self._include) and not any(
            _match(glob, names) for glob in self._exclude
        )


@lru_cache(maxsize=1024)
def _parts(glob: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for part in glob.strip("/").split("/"):
        if part != "**":
            parts.append(re.compile(fnmatch.translate(part)))
        elif not parts or parts[-1] is not None:
            parts.append(None)
    # `docs/` and `docs/**` both mean everything below docs, and never a file of that name.
    return (*parts, None) if glob.endswith("/") else tuple(parts)


def _match(glob: Sequence[Part], names: Sequence[str]) -> bool:
    """Greedy match with one point of return, the last `**`: at most len(glob) * len(names) steps."""
    at_glob = at_name = 0
    back: tuple[int, int] | None = None
    while at_name < len(names):
        part = glob[at_glob] if at_glob < len(glob) else _END
        if part is None:
            back = (at_glob + 1, at_name)
            at_glob += 1
            if at_glob == len(glob):
                return True
        elif part.match(names[at_name]):
            at_glob, at_name = at_glob + 1, at_name + 1
        elif back is not None:
            back = (back[0], back[1] + 1)
            at_glob, at_name = back
        else:
            return False
    return at_glob == len(glob)


_END = re.compile(r"(?!)")
"""Matches nothing: what stands after the end of a glob."""
