"""Checks that the commands which a document shows exist: make targets, `lectern` subcommands, options and paths.

A fenced block whose language is `sh` or `console` holds commands that work today; one marked `sh later` shows what is
planned and is left alone. `make demo` and `make test` run the important ones for real; this keeps the others true.
"""

import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import tree

RUNNABLE = frozenset({"sh", "console"})
# Programs of others: that they exist is the reader's affair.
FOREIGN = frozenset(
    {"apt-get", "cat", "cd", "curl", "cp", "docker", "echo", "git", "helm", "kubectl", "ls", "mkdir", "rm"}
)
FENCE = re.compile(r"^(?P<indent>\s*)```(?P<info>.*)$")
HELP_TIMEOUT_SECONDS = 60

HelpOf = Callable[[str], str | None]
"""From a subcommand of `lectern` ("" for the program itself) to its help text, or None if there is no such command."""


@dataclass(frozen=True)
class Command:
    """One command line of a document, continuation lines joined."""

    document: str
    line: int
    words: tuple[str, ...]


def blocks(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield each fenced block: number of its first line, info string, lines."""
    lines = text.splitlines()
    start: int | None = None
    info = ""
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence is None:
            continue
        if start is None:
            start, info = number + 1, fence["info"].strip()
        else:
            yield start + 1, info, lines[start:number]
            start = None


def commands(text: str, document: str) -> list[Command]:
    """Return the commands of the runnable blocks; in a `console` block only lines with a prompt are commands."""
    found: list[Command] = []
    for first, info, lines in blocks(text):
        if info not in RUNNABLE:
            continue
        number = 0
        while number < len(lines):
            start, line = number, lines[number].strip()
            while line.endswith("\\") and number + 1 < len(lines):
                number += 1
                line = line[:-1] + lines[number].strip()
            number += 1
            if info == "console":
                if not line.startswith("$ "):
                    continue
                line = line[2:]
            found += [Command(document, first + start, words) for words in split(line)]
    return found


def split(line: str) -> Iterator[tuple[str, ...]]:
    """Split a shell line at `&&`, `;` and `|` into words, comments and variable assignments left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*lexer, ";"]:
        if set(token) <= set("&|;"):
            if words:
                yield tuple(words)
            words = []
        elif words or not re.fullmatch(r"[A-Z_]+=.*", token):
            words.append(token)


def make_targets(makefile: str) -> frozenset[str]:
    """Return the targets that a Makefile's text documents with `##`."""
    return frozenset(re.findall(r"^([a-z-]+):.*##", makefile, flags=re.MULTILINE))


def programs(root: Path) -> frozenset[str]:
    """Console scripts that the distribution installs."""
    file = root / "pyproject.toml"
    project = tomllib.loads(file.read_text())["project"] if file.exists() else {}
    return frozenset(project.get("scripts", {}))


def faults(command: Command, targets: frozenset[str], help_of: HelpOf, root: Path) -> Iterator[str]:
    """Say what of `command` does not exist."""
    program, *rest = command.words
    name = program.rsplit("/", 1)[-1]
    if name == "make":
        wanted = [word for word in rest if not word.startswith("-") and "=" not in word]
        yield from (f"make has no target {word}" for word in wanted if word not in targets)
    elif name == "lectern":
        yield from lectern_faults(rest, help_of)
    elif name not in FOREIGN and name not in programs(root) and not (root / program).exists():
        yield f"{program} is neither of this repository nor a known program"
    yield from path_faults(rest, root)


def lectern_faults(words: list[str], help_of: HelpOf) -> Iterator[str]:
    """Say which subcommand or option of `lectern` does not exist."""
    subcommand = words[0] if words and not words[0].startswith("-") else ""
    text = help_of(subcommand)
    if text is None:
        yield f"lectern has no command {subcommand}"
        return
    options = {word.split("=", 1)[0] for word in words if re.match(r"--?[a-z]", word)}
    for option in sorted(options):
        if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text):
            yield f"lectern {subcommand} has no option {option}"


def path_faults(words: list[str], root: Path) -> Iterator[str]:
    """Say which path of this repository, given after `-f`, is not there."""
    for option, value in itertools.pairwise(words):
        if option == "-f" and not value.startswith(("http", "-", "/")) and not (root / value).exists():
            yield f"{value} does not exist"


def lectern_help(subcommand: str) -> str | None:
    """Return what `lectern SUBCOMMAND --help` prints, or None when it fails."""
    program = "from lectern_cli.main import main; main()"
    words = [subcommand] if subcommand else []
    ran = subprocess.run(
        [sys.executable, "-c", program, *words, "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=HELP_TIMEOUT_SECONDS,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
    )
    return ran.stdout if ran.returncode == 0 else None


def check(documents: list[Path], help_of: HelpOf, root: Path = tree.ROOT) -> list[str]:
    """Return one sentence for each command in `documents` that does not exist."""
    targets = make_targets((root / "Makefile").read_text())
    return [
        f"{command.document}:{command.line}: {fault}"
        for document in documents
        for command in commands(document.read_text(), document.relative_to(root).as_posix())
        for fault in faults(command, targets, help_of, root)
    ]


def main() -> int:
    """Check the documents given as arguments, or README.md and CONTRIBUTING.md, and return the exit status."""
    names = sys.argv[1:] or ["README.md", "CONTRIBUTING.md"]
    found = check([tree.ROOT / name for name in names], lectern_help)
    print("\n".join(found) or f"commands: all exist in {', '.join(names)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
