"""Names the places where tests let a run die: `FAILPOINTS` in the order in which a run comes past them.

`run.py` hands one callable to all that write outside, and each calls it right before it does.
"""

from __future__ import annotations

from lectern_runtime.failpoints import Failpoint, no_failpoint

__all__ = ["FAILPOINTS", "Failpoint", "no_failpoint"]
FAILPOINTS = (
    "list",
    "read",
    "store",
    "intend",
    "publish-deletions",
    "publish-puts",
    "part",
    "index",
    "forget-journal",
)
