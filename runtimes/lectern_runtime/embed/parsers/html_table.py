"""Repeats cells that span rows or columns in each of them, so that a row of a table can be read alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_MAX_COLUMNS = 1000
_MAX_ROWS = 10_000
MAX_REPEATED = 1 << 20
"""Characters that a document may have more for its repeated cells."""


@dataclass(slots=True)
class _Table:
    column: int = 0
    start: int = 0
    columns: int = 1
    rows: int = 1
    pending: dict[int, tuple[int, str]] = field(default_factory=dict)


class Spans:
    """The tables that are open, innermost last."""

    def __init__(self) -> None:
        self._tables: list[_Table] = []
        self._left = MAX_REPEATED

    def open_table(self) -> None:
        """A table begins."""
        self._tables.append(_Table())

    def close_table(self) -> None:
        """The innermost table ends."""
        if self._tables:
            self._tables.pop()

    def open_row(self) -> None:
        """A row begins."""
        if self._tables:
            self._tables[-1].column = 0

    def open_cell(self, start: int, attributes: Mapping[str, str | None]) -> Iterator[str]:
        """A cell begins at `start` of the text; gives the cells from above that stand before it in its row."""
        if self._tables:
            yield from self._from_above(stop_at_gap=True)
            table = self._tables[-1]
            table.columns = _number(attributes.get("colspan"), _MAX_COLUMNS)
            table.rows = _number(attributes.get("rowspan"), _MAX_ROWS)
            table.start = start

    @property
    def cell_start(self) -> int | None:
        """Where the open cell begins when it spans more than itself; None when there is nothing to repeat."""
        table = self._tables[-1] if self._tables else None
        return table.start if table is not None and (table.columns > 1 or table.rows > 1) else None

    def close_cell(self, text: str) -> Iterator[str]:
        """The cell ends with this text; gives it once for each further column that it spans."""
        if not self._tables:
            return
        table = self._tables[-1]
        for each in range(table.columns):
            if each and self._affordable(text):
                yield text
            if table.rows > 1:
                table.pending[table.column + each] = (table.rows - 1, text)
        table.column += table.columns
        table.columns = table.rows = 1

    def close_row(self) -> Iterator[str]:
        """The row ends; gives the cells from above that stand after its last one."""
        if self._tables:
            yield from self._from_above(stop_at_gap=False)

    def _from_above(self, *, stop_at_gap: bool) -> Iterator[str]:
        table = self._tables[-1]
        while table.pending and (table.column in table.pending or not stop_at_gap):
            if table.column > max(table.pending):
                return
            if table.column in table.pending:
                rows, text = table.pending.pop(table.column)
                if rows > 1:
                    table.pending[table.column] = (rows - 1, text)
                if self._affordable(text):
                    yield text
            table.column += 1

    def _affordable(self, text: str) -> bool:
        self._left -= len(text) + 3
        return self._left > 0 and bool(text)


def _number(text: str | None, most: int) -> int:
    written = (text or "").strip()
    return min(max(int(written), 1), most) if written.isdecimal() and len(written) < 9 else 1
