"""Measures the parsers on real files: recall and time by format, what isolation costs, hostile files and bombs.

`python -m bench.parsing` prints the table; the rows also come from `goals`. Needs the folders parsing/docling and
parsing/hostile of the test data, whose texts are another tool's output: words are compared, five in a row.
"""

from __future__ import annotations

import asyncio
import csv
import html
import json
import os
import random
import re
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data import DataMissing, directory
from bench.report import PACKAGES, Aim, Goal, Report, finish, is_quick, machine
from lectern_contract.errors import DocumentError
from lectern_contract.media_types import PARSED_MEDIA_TYPES
from lectern_runtime.embed import parse
from lectern_runtime.embed.sandbox import Limits, ParserSandbox
from lectern_runtime.ingest import media_types
from lectern_runtime_tests.embed.bombs import BOMBS, Bomb

LIBRARIES = ("olefile", "pypdfium2", "python-calamine", "selectolax", "tesserocr")
WORDS_IN_A_ROW = 5
ROUNDS = 7
LIMITS = Limits(seconds=60, document_bytes=32 << 20)
BOMB_LIMITS = Limits(seconds=4, document_bytes=8 << 20)
TURNS = 8
"""Turns of each kind, as long as a bomb may take: alone, beside a bomb, and beside a busy process."""
_STRANGER = (sys.executable, "-c", "while True: pass")

MEAN_RECALL = Aim("recall", "mean recall of the formats", ">=", 0.95)
LEAST_RECALL = Aim("recall", "least recall of a format", ">=", 0.85)
ISOLATION = Aim("isolation", "parse time that the warm process adds", "<=", 0.20)
HOSTILE = Aim("hostile", "hostile files that end as expected", ">=", 62, "files")
BOMBS_END = Aim("C5", "bombs that end within their limits", ">=", 1.0)
OTHERS = Aim("C5", "others' throughput beside bombs", ">=", 0.95)
AIMS = (MEAN_RECALL, LEAST_RECALL, ISOLATION, HOSTILE, BOMBS_END, OTHERS)


@dataclass(frozen=True, slots=True)
class Sample:
    """A file, its format in the list of the data, and the text that it should give (None: not known)."""

    path: Path
    format: str
    media_type: str
    expected: str | None

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()


def samples(root: Path) -> list[Sample]:
    """Return the files of parsing/docling that are of a type that is read, scans apart."""
    folder = root / "parsing" / "docling"
    found = []
    for row in _rows(folder / "manifest.tsv"):
        media_type = media_types.by_name(row["source"])
        if media_type not in PARSED_MEDIA_TYPES or row["format"] == "ocr":
            continue
        expected = (folder / row["expected"]).read_text() if row["expected"] else None
        suffix = row["source"].rpartition(".")[2]
        kind = suffix if row["format"] in ("doc", "email") else row["format"]
        found.append(Sample(folder / row["source"], kind, media_type, expected))
    return found


def recall(expected: str, text: str) -> float | None:
    """Return the share of the expected runs of five words that the text holds; None where nothing is expected."""
    wanted, given = _words(expected), _words(text)
    size = min(WORDS_IN_A_ROW, len(wanted))
    if not size:
        return None
    runs, found = _runs(wanted, size), _runs(given, size)
    return sum((runs & found).values()) / sum(runs.values())


def _words(text: str) -> list[str]:
    """Words without the marks of Markdown: addresses of links and comments are no text."""
    text = re.sub(r"<!--.*?-->", " ", html.unescape(text), flags=re.S)
    text = re.sub(r"\]\((?:[^()\s]|\([^()]*\))*(?:\s\"[^\"]*\")?\)", "] ", text)
    text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())


def _runs(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def recall_by_format(found: Sequence[Sample]) -> dict[str, float]:
    """Return the mean recall of each format's files."""
    shares: dict[str, list[float]] = {}
    for sample in found:
        share = recall(sample.expected, _parsed(sample)) if sample.expected is not None else None
        if share is not None:
            shares.setdefault(sample.format, []).append(share)
    return {kind: sum(each) / len(each) for kind, each in sorted(shares.items())}


def _parsed(sample: Sample) -> str:
    try:
        return parse.parse(sample.data, sample.media_type).text
    except DocumentError:
        return ""


@dataclass(frozen=True, slots=True)
class Isolation:
    """Seconds for all files, in this process and in a warm one: of processors, and of a clock at best."""

    cpu_here: float
    cpu_there: float
    clock_here: float
    clock_there: float


async def isolation(found: Sequence[Sample]) -> Isolation:
    """Parse all files several times here and in one warm process.

    Time of processors counts both sides of the pipe, and is the goal's figure since other programs do not change it.
    """
    clock_here = clock_there = 0.0
    cpu_here = cpu_there = 0
    async with ParserSandbox(LIMITS, processes=1) as parser:
        for sample in found:
            data = sample.data
            _seconds_here(data, sample.media_type)
            await _seconds_there(parser, data, sample.media_type)
            here, there = [], []
            for _ in range(ROUNDS):
                before = time.process_time_ns()
                here.append(_seconds_here(data, sample.media_type))
                between, child = time.process_time_ns(), _processor_ns(parser)
                there.append(await _seconds_there(parser, data, sample.media_type))
                cpu_here += between - before
                cpu_there += time.process_time_ns() - between + _processor_ns(parser) - child
            clock_here += min(here)
            clock_there += min(there)
    return Isolation(cpu_here / 1e9 / ROUNDS, cpu_there / 1e9 / ROUNDS, clock_here, clock_there)


def _processor_ns(parser: ParserSandbox) -> int:
    """Nanoseconds on a processor of the one warm process."""
    (pid,) = parser.pids
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def _seconds_here(data: bytes, media_type: str) -> float:
    started = time.perf_counter()
    try:
        parse.parse(data, media_type)
    except DocumentError:
        return time.perf_counter() - started
    return time.perf_counter() - started


async def _seconds_there(parser: ParserSandbox, data: bytes, media_type: str) -> float:
    started = time.perf_counter()
    try:
        await parser.parse(data, media_type)
    except DocumentError:
        return time.perf_counter() - started
    return time.perf_counter() - started


async def hostile(root: Path) -> tuple[int, list[str]]:
    """Return how many files of parsing/hostile end as they should, and the names of the others."""
    folder = root / "parsing" / "hostile"
    right, wrong = 0, []
    async with ParserSandbox(LIMITS, processes=1) as parser:
        for row in _rows(folder / "expected.tsv"):
            data = (folder / row["path"]).read_bytes()
            if await _as_expected(parser, data, row):
                right += 1
            else:
                wrong.append(row["path"])
    return right, wrong


async def _as_expected(parser: ParserSandbox, data: bytes, row: Mapping[str, str]) -> bool:
    """Whether a file ends as its row says. A type that is not read is refused before it comes to a parser."""
    media_type = media_types.by_name(row["path"]) or media_types.by_content(data)
    if media_type not in PARSED_MEDIA_TYPES:
        return True
    try:
        text = (await parser.parse(data, media_type)).text
    except DocumentError as error:
        return row["expect"] == "reject" and error.reason not in ("ParserCrashed", "TimedOut", "OutOfMemory")
    contains = " ".join(row["contains"].split())
    return row["expect"] == "parse" and contains in " ".join(text.split()) and "\ufffd" not in text


async def bombs_end() -> list[str]:
    """Return the bombs that do not end as they may, by name."""
    wrong = []
    async with ParserSandbox(BOMB_LIMITS, processes=1) as parser:
        for family in BOMBS.values():
            for name, bomb in family.items():
                started = time.monotonic()
                end = await _end(parser, bomb.make(), bomb)
                if end not in bomb.ends or time.monotonic() - started > 3 * BOMB_LIMITS.seconds:
                    wrong.append(f"{name}: {end}")
    return wrong


async def _end(parser: ParserSandbox, data: bytes, bomb: Bomb) -> str:
    try:
        await parser.parse(data, bomb.media_type)
    except DocumentError as error:
        return error.reason
    return "text"


@dataclass(frozen=True, slots=True)
class Throughput:
    """Documents a second, one after the other: alone, while a bomb is read, and beside a busy stranger."""

    alone: float
    beside_bombs: float
    beside_stranger: float


async def throughput(found: Sequence[Sample]) -> Throughput:
    """Parse all files again and again, each kind of turn in its place, so that what else runs here meets all kinds.

    The stranger is a process outside of the pool that does nothing but count: what no pool can do anything about.
    """
    bombs = [(bomb.make(), bomb) for family in ("depth", "pdf", "sheets", "text") for bomb in BOMBS[family].values()]
    random.Random(1).shuffle(bombs)
    documents = [(sample.data, sample.media_type) for sample in found]
    done, took = [0, 0, 0], [0.0, 0.0, 0.0]
    async with ParserSandbox(BOMB_LIMITS, processes=2) as parser:
        for turn in range(3 * TURNS):
            for data, media_type in documents[:4]:  # a process that the last bomb ended is started anew before
                await asyncio.gather(*(_seconds_there(parser, data, media_type) for _ in range(2)))
            kind = turn % 3
            bomb = asyncio.ensure_future(_end(parser, *bombs[turn // 3 % len(bombs)])) if kind == 1 else None
            stranger = await asyncio.create_subprocess_exec(*_STRANGER) if kind == 2 else None
            began = time.monotonic()
            while time.monotonic() - began < BOMB_LIMITS.seconds:
                for data, media_type in documents:
                    await _seconds_there(parser, data, media_type)
                done[kind] += len(documents)
            took[kind] += time.monotonic() - began
            if bomb is not None:
                await bomb
            if stranger is not None:
                stranger.kill()
                await stranger.wait()
    return Throughput(*(count / seconds for count, seconds in zip(done, took, strict=True)))


def costs(root: Path) -> dict[str, str]:
    """Return time and peak memory of each format's files, each format in a process of its own."""
    found: dict[str, str] = {}
    for kind in sorted({sample.format for sample in samples(root)}):
        done = subprocess.run(
            [sys.executable, "-m", "bench.parsing", "--format", kind], capture_output=True, text=True, check=True
        )
        cost = json.loads(done.stdout)
        found[f"cost {kind}"] = f"{cost['files']} files, {cost['seconds']:.3f} s, peak {cost['peak_mib']:.0f} MiB"
    return found


def _cost(root: Path, kind: str) -> dict[str, float]:
    """Time of the second pass over the files of a format, and the most memory that this process ever had."""
    chosen = [(sample.data, sample.media_type) for sample in samples(root) if sample.format == kind]
    for data, media_type in chosen:
        _seconds_here(data, media_type)
    seconds = sum(_seconds_here(data, media_type) for data, media_type in chosen)
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return {"files": len(chosen), "seconds": seconds, "peak_mib": peak / 1024}


def goals(environ: Mapping[str, str]) -> tuple[list[Goal], dict[str, object]]:
    """Return the goals with their figures, and what was measured beside them."""
    try:
        root = directory(environ)
        found = samples(root)
    except (DataMissing, FileNotFoundError) as error:
        return [aim.unmeasured(str(error)) for aim in AIMS], {}
    by_format = recall_by_format(found)
    figures: dict[str, object] = {f"recall {kind}": f"{share:.3f}" for kind, share in by_format.items()}
    cost = asyncio.run(isolation(found))
    right, wrong = asyncio.run(hostile(root))
    failed = asyncio.run(bombs_end())
    count = sum(map(len, BOMBS.values()))
    rate = asyncio.run(throughput(found))
    figures |= costs(root)
    made = [
        MEAN_RECALL.measured(sum(by_format.values()) / len(by_format), n=len(found)),
        LEAST_RECALL.measured(min(by_format.values()), n=len(by_format)),
        ISOLATION.measured(
            cost.cpu_there / cost.cpu_here - 1,
            n=len(found),
            reason=f"processors {cost.cpu_here:.3f} s here, {cost.cpu_there:.3f} s there; "
            f"by the clock {cost.clock_here:.3f} s and {cost.clock_there:.3f} s",
        ),
        HOSTILE.measured(right, n=right + len(wrong), reason=", ".join(wrong)),
        BOMBS_END.measured((count - len(failed)) / count, n=count, reason=", ".join(failed)),
        OTHERS.measured(
            rate.beside_bombs / rate.alone,
            n=TURNS,
            reason=f"{rate.alone:.0f} documents a second alone, {rate.beside_bombs:.0f} beside bombs; a busy process "
            f"outside of the pool leaves {rate.beside_stranger:.0f}",
        ),
    ]
    return made, figures


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def main(arguments: Sequence[str]) -> int:
    """Measure all, or one format for `costs`; return the exit status."""
    if arguments[:1] == ["--format"]:
        print(json.dumps(_cost(directory(os.environ), arguments[1])))
        return 0
    made, figures = goals(os.environ)
    return finish(
        Report(
            target="bench-parsing",
            goals=tuple(made),
            machine=machine((*PACKAGES, *LIBRARIES)),
            quick=is_quick(os.environ),
            figures=figures,
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
