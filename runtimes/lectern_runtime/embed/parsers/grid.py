"""Writes the cells of a spreadsheet as tables: what stands apart on a sheet becomes a table of its own.

Cells touch when they are beside or below each other. Very large sheets are written row by row instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import fault

Row = tuple[int, dict[int, str]]
"""Number of a row, and its cells with text by column; both count from 0 or both from 1."""
MAX_CELLS = 2_000_000
SPLIT_CELLS = 200_000
_MAX_SPREAD = 100_000


@dataclass(frozen=True, slots=True)
class Area:
    """Cells from the upper left to the lower right corner, both included."""

    top: int
    left: int
    bottom: int
    right: int


class CellBudget:
    """Counts the cells of one document. Raises `DocumentError` TooLarge when there are more than it may have."""

    def __init__(self, limit: int = MAX_CELLS) -> None:
        self._limit = self._left = limit

    def spend(self, cells: int) -> None:
        """Take note of more cells."""
        self._left -= cells
        if self._left < 0:
            raise fault("TooLarge", f"it has more than {self._limit} cells with text; split it, or exclude it")


def write(rows: Iterable[Row], composer: Composer, merged: Sequence[Area] | None = None) -> None:
    """Write the rows of one sheet, in order. `merged` is read after the rows, since files name these areas last."""
    taken: list[Row] = []
    count = 0
    stream = iter(rows)
    for row in stream:
        taken.append(row)
        count += len(row[1])
        if count > SPLIT_CELLS:
            composer.table(_line(cells, min(cells), max(cells)) for _, cells in chain(taken, stream) if cells)
            return
    sheet = {number: cells for number, cells in taken if cells}
    _spread(sheet, merged or ())
    for area in _areas(sheet):
        composer.table(_line(cells, area.left, area.right) for cells in _within(sheet, area))


def _within(sheet: dict[int, dict[int, str]], area: Area) -> Iterator[dict[int, str]]:
    """The rows of an area; where almost all are empty, only the others."""
    if area.bottom - area.top > len(sheet):
        return (sheet[number] for number in sorted(sheet) if area.top <= number <= area.bottom)
    return (sheet.get(number, {}) for number in range(area.top, area.bottom + 1))


def _line(cells: dict[int, str], left: int, right: int) -> list[str]:
    if right - left > 16 * (len(cells) + 4):
        return [cells[column] for column in sorted(cells) if left <= column <= right]
    return [cells.get(column, "") for column in range(left, right + 1)]


def _spread(sheet: dict[int, dict[int, str]], merged: Sequence[Area]) -> None:
    """What is merged stands in each of its cells, so that a row can be read alone."""
    left = _MAX_SPREAD
    for area in merged:
        text = sheet.get(area.top, {}).get(area.left)
        size = (area.bottom - area.top + 1) * (area.right - area.left + 1)
        if not text or size < 1 or size > left:
            continue
        left -= size
        for number in range(area.top, area.bottom + 1):
            cells = sheet.setdefault(number, {})
            for column in range(area.left, area.right + 1):
                cells.setdefault(column, text)


def _areas(sheet: dict[int, dict[int, str]]) -> list[Area]:
    """The areas of touching cells, from top to bottom and left to right; areas that overlap are one."""
    runs: list[Area] = []
    parents: list[int] = []
    above: list[int] = []
    last = None
    for number in sorted(sheet):
        current = []
        for left, right in _runs(sheet[number]):
            current.append(len(runs))
            parents.append(len(runs))
            runs.append(Area(number, left, number, right))
        if last == number - 1:
            _join(runs, parents, above, current)
        above, last = current, number
    groups: dict[int, Area] = {}
    for place, run in enumerate(runs):
        root = _root(parents, place)
        groups[root] = _around(groups[root], run) if root in groups else run
    return sorted(_apart(list(groups.values())), key=lambda area: (area.top, area.left))


def _runs(cells: dict[int, str]) -> Iterator[tuple[int, int]]:
    columns = sorted(cells)
    start = columns[0]
    for column, following in pairwise([*columns, columns[-1] + 2]):
        if following > column + 1:
            yield start, column
            start = following


def _join(runs: list[Area], parents: list[int], above: list[int], below: list[int]) -> None:
    """Make one of the runs of two neighbouring rows that share a column."""
    upper, lower = 0, 0
    while upper < len(above) and lower < len(below):
        one, other = runs[above[upper]], runs[below[lower]]
        if one.left <= other.right and other.left <= one.right:
            parents[_root(parents, above[upper])] = _root(parents, below[lower])
        if one.right < other.right:
            upper += 1
        else:
            lower += 1


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


def _around(one: Area, other: Area) -> Area:
    return Area(
        min(one.top, other.top),
        min(one.left, other.left),
        max(one.bottom, other.bottom),
        max(one.right, other.right),
    )


_MANY_AREAS = 2000


def _apart(areas: list[Area]) -> list[Area]:
    """The areas with those that overlap put together; a sheet that is all crumbs becomes one table."""
    if len(areas) > _MANY_AREAS:
        whole = areas[0]
        for area in areas:
            whole = _around(whole, area)
        return [whole]
    changed = True
    while changed:
        changed = False
        kept: list[Area] = []
        for area in areas:
            for place, other in enumerate(kept):
                if _overlap(area, other):
                    kept[place] = _around(area, other)
                    changed = True
                    break
            else:
                kept.append(area)
        areas = kept
    return areas


def _overlap(one: Area, other: Area) -> bool:
    rows = one.top <= other.bottom and other.top <= one.bottom
    return rows and one.left <= other.right and other.left <= one.right
