"""How far a long run is, shown to a person: a bar at a terminal, a plain line every few seconds anywhere else.

Nothing is made up: while nobody knows how much there is, neither a share nor a time left is shown, and the time left
follows from what was done lately. Colours follow NO_COLOR.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

PLAIN_SECONDS = 5.0
"""Time between two lines where the output is no terminal."""
WINDOW_SECONDS = 20.0
"""Over how long the rate is measured."""
APART_SECONDS = 0.1
"""Between two readings that are remembered, and between two looks of a bar."""
LONGEST = 30
"""Characters of what is being done, beside the bar."""
SURE_SECONDS = 2.0
"""Before so much time nobody says how long the rest takes."""


@dataclass(frozen=True)
class Reading:
    """How far a run is: documents that are done, how many there are (None: nobody knows yet), and how many failed."""

    done: int
    total: int | None = None
    failed: int = 0


class Pace:
    """What was done lately, and what follows from it; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._seen: deque[tuple[float, int]] = deque()
        self.last = Reading(0)

    def take(self, reading: Reading) -> None:
        """Take in how far it is now."""
        now = self._clock()
        if reading.done < self.last.done:
            self._seen.clear()  # it began anew
        self.last = reading
        if len(self._seen) > 1 and now - self._seen[-2][0] < APART_SECONDS:
            self._seen.pop()  # memory is bounded however often somebody tells
        self._seen.append((now, reading.done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return self._clock() - self._began

    @property
    def rate(self) -> float | None:
        """Documents a second lately; None while that cannot be said."""
        if not self._seen:
            return None
        then, before = self._seen[0]
        lasted = self._seen[-1][0] - then
        return (self._seen[-1][1] - before) / lasted if lasted >= SURE_SECONDS else None

    @property
    def left(self) -> float | None:
        """Seconds until the end at the rate of lately; None while that cannot be said."""
        if self.last.total is None or not self.rate:
            return None
        return max(0, self.last.total - self.last.done) / self.rate

    def words(self) -> str:
        """How far it is, as one line."""
        last, rate = self.last, self.rate
        told = [f"{last.done} of {'an unknown number' if last.total is None else last.total}"]
        told += [f"{rate:.1f}/s"] if rate is not None else []
        told += [f"{last.failed} failed"]
        if last.total is None or last.done < last.total:
            told += [f"{duration(self.left)} left" if self.left is not None else "time left unknown"]
        return ", ".join([*told, f"{duration(self.seconds)} so far"])


def duration(seconds: float) -> str:
    """A time as a person reads it: 12s, 3m05s, 2h10m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


class Display(Protocol):
    """What a long run is given to tell how far it is."""

    def tell(self, reading: Reading, what: str | None = None) -> None:
        """Show how far it is; `what` says what is being done now."""
        ...


@dataclass
class Shown:
    """What a run is given to tell how far it is; `tell` may be called as often as it likes."""

    what: str
    console: Console
    pace: Pace
    bar: Progress | None = None
    clock: Callable[[], float] = time.monotonic
    every_seconds: float = PLAIN_SECONDS
    _said: float | None = None

    def tell(self, reading: Reading, what: str | None = None) -> None:
        """Show how far it is; `what` says what is being done now."""
        changed = what is not None and what != self.what
        self.what = what if what is not None else self.what
        self.pace.take(reading)
        now = self.clock()
        if self.bar is not None:
            if not changed and reading.done != reading.total and now - (self._said or 0.0) < APART_SECONDS:
                return
            self._said = now
            task = self.bar.task_ids[0]
            self.bar.update(task, description=_short(self.what), completed=reading.done, total=reading.total)
            return
        if self._said is None:
            self._said = now  # a run that is over at once says nothing on the way
        elif changed or now - self._said >= self.every_seconds:
            self._said = now
            say(self.console, f"{self.what}: {self.pace.words()}")


@contextmanager
def shown(console: Console, what: str, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Shown]:
    """Show a run while the block lasts; a bar goes away at its end, plain lines stay."""
    pace = Pace(clock)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Shown(what, console, pace, clock=clock)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        _Words(pace),
    )
    with Progress(*columns, console=console, transient=True, expand=True, refresh_per_second=5) as bar:
        bar.add_task(_short(what), total=None)
        yield Shown(what, console, pace, bar, clock=clock)


class _Words(ProgressColumn):
    """What `Pace` says, short enough for 80 columns."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._pace = pace

    def render(self, task: Task) -> Text:
        """Return done/total, rate, time left and failures of `task`."""
        pace, last = self._pace, self._pace.last
        total = "?" if last.total is None else str(last.total)
        left = f"{duration(pace.left)} left" if pace.left is not None else "? left"
        rate = f"{pace.rate:.1f}/s" if pace.rate is not None else "?/s"
        text = Text(f"{last.done}/{total} {rate} {left}")
        if last.failed:
            text.append(f" {last.failed} failed", style="red")
        return text


def _short(what: str) -> str:
    return what if len(what) <= LONGEST else f"{what[: LONGEST - 3]}..."


def say(console: Console, line: str, *, style: str = "") -> None:
    """One line as it is, without markup or colours; only a terminal gets it wrapped."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)
