"""Resources with their status as the table that `kubectl get` prints, from the same printer columns.

Used by `lectern status`; the CRDs carry the same `PrinterColumn`s, so that both always agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lectern_contract.resources import KINDS
from lectern_contract.resources.common import PrinterColumn

KINDS_IN_ORDER = ("KnowledgeBase", "IngestionSource", "RagEndpoint")
_STEP = re.compile(r"\.(\w+)|\[\?\(@\.(\w+)==\"([^\"]*)\"\)\]")


def value_at(document: Mapping[str, Any], json_path: str) -> Any | None:
    """The value at the JSONPath of a printer column (`.a.b` and `[?(@.k=="v")]` steps only), or None."""
    value: Any = document
    for name, key, wanted in _STEP.findall(json_path):
        if name:
            value = value.get(name) if isinstance(value, Mapping) else None
        else:
            items = value if isinstance(value, Sequence) else ()
            value = next((item for item in items if item.get(key) == wanted), None)
        if value is None:
            return None
    return value


def age(since: str, now: datetime) -> str:
    """Time since an RFC 3339 timestamp in the unit that a person reads: 45s, 12m, 5h, 3d."""
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    for limit, unit, size in ((120, "s", 1), (7200, "m", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86_400}d"


def render(documents: Sequence[Mapping[str, Any]], *, now: datetime, wide: bool = False) -> str:
    """One table a kind, in the order and with the columns of `kubectl get` (`-o wide` adds the message)."""
    tables = []
    for kind in KINDS_IN_ORDER:
        model = KINDS[kind]
        rows = [document for document in documents if document.get("kind") == kind]
        if not rows:
            continue
        columns = [column for column in model.columns if wide or column.priority == 0]
        head = ["NAME", *(column.name.upper() for column in columns)]
        prefix = f"{kind.lower()}.lectern.dev/"
        body = [
            [prefix + str(document["metadata"]["name"]), *(_cell(document, column, now) for column in columns)]
            for document in rows
        ]
        tables.append(aligned([head, *body]))
    return "\n\n".join(tables)


def _cell(document: Mapping[str, Any], column: PrinterColumn, now: datetime) -> str:
    value = value_at(document, column.json_path)
    if value is None:
        return ""
    return age(str(value), now) if column.type == "date" else str(value)


def aligned(rows: list[list[str]]) -> str:
    """Rows of equally many cells as text, each column as wide as its longest cell."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
