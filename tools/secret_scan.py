"""Looks for keys, tokens and passwords in the repository's files; `make secrets` and CI run it.

Each rule is one shape that a real secret has. A finding names file, line and rule, never the text itself. A line that
must look like a secret (an example in a test) says `secret-scan: allow` and why.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import tree

ALLOW = "secret-scan: allow"
LARGEST_FILE_BYTES = 2_000_000
# Words are near 3, keys from a random source near 4 to 6.
LEAST_ENTROPY_BITS = 3.5

SHAPES: dict[str, re.Pattern[str]] = {
    "access key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "credentials in a URL": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@<>{}$\"']+:[^\s/:@<>{}$\"']{3,}@[\w.-]"),
    "JSON web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "key of a model API": re.compile(r"\bsk-[A-Za-z0-9_-]{24,}"),
    "key of Google": re.compile(r"\bAIza[\w-]{35}"),
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "token of GitHub": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60})"),
    "token of GitLab": re.compile(r"\bglpat-[\w-]{20}"),
    "token of Hugging Face": re.compile(r"\bhf_[A-Za-z0-9]{30}"),
    "token of Slack": re.compile(r"\bxox[abposr]-[0-9A-Za-z-]{10,}"),
}
ASSIGNMENT = re.compile(
    r"(?i)(?:password|passwd|secret|token|api[_-]?key)[\"']?\s*[:=]\s*[\"']?(?P<value>[A-Za-z0-9+/_=-]{20,})(?![\w.(])"
)


@dataclass(frozen=True)
class Finding:
    """A line that looks like a secret; `rule` says which one, the text is left out on purpose."""

    path: str
    line: int
    rule: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}"


def entropy_bits(text: str) -> float:
    """Shannon entropy of the characters of `text`, in bits per character."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def looks_random(value: str) -> bool:
    """Tell a generated value from a name: it mixes digits with letters, and its characters are spread evenly."""
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return mixed and entropy_bits(value) >= LEAST_ENTROPY_BITS


def rules_of(line: str) -> Iterator[str]:
    """Name each rule that `line` meets."""
    if ALLOW in line:
        return
    for rule, shape in SHAPES.items():
        if shape.search(line):
            yield rule
    if any(looks_random(match["value"]) for match in ASSIGNMENT.finditer(line)):
        yield "value given to a secret's name"


def scan(paths: Iterable[Path], *, root: Path) -> list[Finding]:
    """Look at every line of the text files in `paths`; binary and very large files are passed over."""
    findings: list[Finding] = []
    for path in paths:
        content = path.read_bytes() if path.stat().st_size <= LARGEST_FILE_BYTES else b"\0"
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
            findings += [Finding(str(path.relative_to(root)), number, rule) for rule in rules_of(line)]
    return findings


def main() -> int:
    """Scan the repository, print what was found, and return the exit status."""
    paths = tree.files()
    findings = scan(paths, root=tree.ROOT)
    for finding in findings:
        print(finding)
    if findings:
        print(f"secrets: {len(findings)} found; move the value to a Secret, or say `{ALLOW}` and why on the line")
        return 1
    print(f"secrets: none in {len(paths)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
