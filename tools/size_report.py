"""Prints how long files and functions are and how much of the code is tests, against the project's targets.

A report, never a failure: a figure past its target says where to look for a second idea. `make size` runs it.
"""

import ast
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import tree

SOURCE = (
    "operator/lectern_operator/",
    "runtimes/lectern_cli/",
    "runtimes/lectern_contract/",
    "runtimes/lectern_runtime/",
)
TESTS = ("operator/lectern_operator_tests/", "runtimes/lectern_runtime_tests/", "e2e/")
NAMED = 5


@dataclass(frozen=True)
class Measure:
    """One function or file: where it is and how many lines it has."""

    where: str
    lines: int


@dataclass(frozen=True)
class Row:
    """One line of the report; `at_most` False means that the target is a floor."""

    name: str
    value: float
    target: float
    at_most: bool = True

    @property
    def met(self) -> bool:
        return self.value <= self.target if self.at_most else self.value >= self.target

    def __str__(self) -> str:
        bound = "<=" if self.at_most else ">="
        return (
            f"  {self.name:<24}{self.value:>8g}   {bound} {self.target:<6g} {'ok' if self.met else 'past its target'}"
        )


def percentile(values: Sequence[int], share: float) -> int:
    """Return the smallest value that at least `share` (0 to 1) of `values` do not exceed; 0 for none."""
    if not values:
        return 0
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]


def functions(source: str, where: str) -> list[Measure]:
    """Measure each function and method of a module, from `def` to its last line."""
    return [
        Measure(f"{where}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def measure(paths: Iterable[Path], root: Path) -> tuple[list[Measure], list[Measure]]:
    """Return the measures of the files and of the functions in them."""
    of_files: list[Measure] = []
    of_functions: list[Measure] = []
    for path in paths:
        text = path.read_text()
        where = str(path.relative_to(root))
        of_files.append(Measure(where, len(text.splitlines())))
        of_functions += functions(text, where)
    return of_files, of_functions


def rows(of_files: list[Measure], of_functions: list[Measure], test_lines: int) -> list[Row]:
    """Compare the measures of the source with the targets."""
    lines = [m.lines for m in of_files]
    lengths = [m.lines for m in of_functions]
    ratio = round(test_lines / sum(lines), 2) if sum(lines) else 0.0
    return [
        Row("file lines, p50", percentile(lines, 0.5), 150),
        Row("file lines, max", max(lines, default=0), 500),
        Row("function lines, p50", percentile(lengths, 0.5), 12),
        Row("function lines, p95", percentile(lengths, 0.95), 40),
        Row("function lines, max", max(lengths, default=0), 60),
        Row("test lines per source", ratio, 1.2, at_most=False),
    ]


def longest(measures: list[Measure], limit: int) -> list[Measure]:
    """Return the few longest measures past `limit` lines, longest first."""
    return sorted((m for m in measures if m.lines > limit), key=lambda m: (-m.lines, m.where))[:NAMED]


def main() -> int:
    """Measure the repository and print the table."""
    python = [(path, path.relative_to(tree.ROOT).as_posix()) for path in tree.files(suffixes=frozenset({".py"}))]
    source = [path for path, name in python if name.startswith(SOURCE) and path.name != "__init__.py"]
    tests = [path for path, name in python if name.startswith(TESTS)]
    of_files, of_functions = measure(source, tree.ROOT)
    test_files, _ = measure(tests, tree.ROOT)
    test_lines = sum(m.lines for m in test_files)
    print(f"size: {len(source)} source files, {sum(m.lines for m in of_files)} lines; tests {test_lines} lines")
    for row in rows(of_files, of_functions, test_lines):
        print(row)
    for found in longest(of_files, 400) + longest(of_functions, 40):
        print(f"    {found.lines:>4} lines  {found.where}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
