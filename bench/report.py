"""Turns the figures of a benchmark into a table, a JSON file and an exit status: one shape for all `bench-...` targets.

Each benchmark names its `Aim`s, measures, makes a `Goal` of each, and ends with `finish`. Nothing here measures; the
machine is only described, so that a figure can be read on another one.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

REPORTS = Path("reports")
PACKAGES = ("fastapi", "lectern", "numpy", "onnxruntime", "pydantic", "qdrant-edge-py", "tokenizers", "uvicorn")
QUICK_NOTE = "QUICK=1: a seeded sample; its figures are easier or noisier than those of the whole run"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One figure beside its bound and its floor.

    `floor` is the same work done bare in the same run, in `unit`. `ratio` is 1 where the figure equals the floor and
    smaller where it is worse. `met` is None when nothing was measured, and `reason` then says why.
    """

    goal: str
    figure: str
    value: float | None
    unit: str
    bound: str
    floor: float | None = None
    ratio: float | None = None
    n: int | None = None
    seed: int | None = None
    met: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Aim:
    """A goal before anything was measured. With `of_floor` the limit is a share of the floor, not a figure."""

    goal: str
    figure: str
    comparison: Literal["<=", ">="]
    limit: float
    unit: str = ""
    of_floor: bool = False

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"{self.comparison} {self.limit:g}" + (" of floor" if self.of_floor else "")

    def measured(
        self,
        value: float,
        *,
        floor: float | None = None,
        ratio: float | None = None,
        n: int | None = None,
        seed: int | None = None,
        reason: str = "",
    ) -> Goal:
        """Return the goal with its figure, judged; a value that is not a number meets nothing.

        `reason` is then a remark. Raises ValueError when a share of the floor comes without `ratio`.
        """
        if self.of_floor and ratio is None:
            raise ValueError(f"goal {self.goal} is a share of its floor; hand in the ratio")
        judged = ratio if self.of_floor and ratio is not None else value
        return Goal(
            goal=self.goal,
            figure=self.figure,
            value=float(value),
            unit=self.unit,
            bound=self.bound,
            floor=floor,
            ratio=ratio,
            n=n,
            seed=seed,
            met=bool(judged <= self.limit if self.comparison == "<=" else judged >= self.limit),
            reason=reason,
        )

    def unmeasured(self, reason: str) -> Goal:
        """Return the goal as not measured; `reason` says why and what to do about it."""
        return Goal(
            goal=self.goal, figure=self.figure, value=None, unit=self.unit, bound=self.bound, met=None, reason=reason
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a target reports. `figures` are measured beside the goals and bound by nothing."""

    target: str
    goals: tuple[Goal, ...]
    machine: Mapping[str, object]
    quick: bool = False
    figures: Mapping[str, object] | None = None

    @property
    def met(self) -> int:
        """How many goals are met."""
        return sum(goal.met is True for goal in self.goals)

    @property
    def exit_status(self) -> int:
        """0 when every goal is met; 1 otherwise, also when one could not be measured or there is none."""
        return 0 if self.goals and self.met == len(self.goals) else 1

    @property
    def verdict(self) -> str:
        """The last line of the target."""
        return f"{self.target}: {self.met} of {len(self.goals)} goals met"


# ------------------------------------------------------------------------------------------ machine


def machine(packages: Sequence[str] = PACKAGES) -> dict[str, object]:
    """Return what decides how fast this run could be: processors, memory, load at this moment, and versions."""
    return {
        "processor": _first_value(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_mib": _memory_mib(),
        "load_average": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
    }


def _first_value(path: Path, key: str) -> str | None:
    """The first `key : value` of a file under /proc, or None where there is no such file or key."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), None)


def _memory_mib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# ------------------------------------------------------------------------------------------- output

COLUMNS = ("goal", "figure", "value", "bound", "floor", "ratio", "n", "met")
RIGHT = frozenset({"value", "floor", "ratio", "n"})


def table(goals: Sequence[Goal]) -> str:
    """Return the goals as lines of text, columns aligned, and below them the remarks."""
    rows = [COLUMNS, *(_cells(goal) for goal in goals)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    remarks = [f"  {goal.goal}: {goal.reason}" for goal in goals if goal.reason]
    return "\n".join(lines + remarks)


def _cells(goal: Goal) -> tuple[str, ...]:
    return (
        goal.goal,
        goal.figure,
        _number(goal.value, goal.unit),
        goal.bound if "floor" in goal.bound else f"{goal.bound} {goal.unit}".strip(),
        _number(goal.floor, goal.unit),
        "-" if goal.ratio is None else f"{goal.ratio:.3f}",
        "-" if goal.n is None else str(goal.n),
        {True: "yes", False: "NO", None: "not measured"}[goal.met],
    )


def _number(value: float | None, unit: str) -> str:
    """Four significant digits: more would be noise."""
    return "-" if value is None else f"{value:.4g} {unit}".strip()


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if name in RIGHT else cell.ljust(width)
        for name, cell, width in zip(COLUMNS, row, widths, strict=True)
    )
    return "  ".join(cells).rstrip()


def write(report: Report, directory: Path = REPORTS) -> Path:
    """Write `directory/TARGET.json` and return its path; a value that is not a number becomes null."""
    content = {
        "target": report.target,
        "quick": report.quick,
        "note": QUICK_NOTE if report.quick else "",
        "machine": dict(report.machine),
        "goals": [_finite(asdict(goal)) for goal in report.goals],
        "figures": _finite(dict(report.figures or {})),
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{report.target}.json"
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    return path


def _finite(values: dict[str, object]) -> dict[str, object]:
    """JSON has no NaN and no infinity."""
    infinite = (float("inf"), float("-inf"))
    return {
        key: None if isinstance(value, float) and (value != value or value in infinite) else value
        for key, value in values.items()
    }


def finish(report: Report, directory: Path = REPORTS) -> int:
    """Print table, file and verdict, and return the exit status; the verdict is the last line."""
    path = write(report, directory)
    print()
    print(table(report.goals))
    print()
    for name, value in (report.figures or {}).items():
        print(f"  {name}: {value}")
    spelled = ", ".join(f"{name} {value}" for name, value in report.machine.items() if name != "packages")
    print(f"  machine: {spelled}")
    if report.quick:
        print(f"  {QUICK_NOTE}")
    print(f"  written to {path}")
    print(report.verdict, flush=True)
    return report.exit_status


def is_quick(environ: Mapping[str, str]) -> bool:
    """Return whether QUICK asks for the sample; unset, empty and 0 do not."""
    return environ.get("QUICK", "") not in ("", "0")
