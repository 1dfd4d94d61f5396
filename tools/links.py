"""Checks that every relative link of the repository's Markdown files leads to a file, and its anchor to a heading.

Links to other machines are not followed: a test run speaks to nobody.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tools import tree

LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(?P<title>.+?)\s*#*$", re.MULTILINE)
FENCED = re.compile(r"^([ \t]*)```.*?^\1```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def prose(text: str) -> str:
    """Return `text` without fenced blocks: what stands there is an example, not a link or a heading."""
    return FENCED.sub("", text)


def anchors(text: str) -> frozenset[str]:
    """Return the anchors that a forge makes from the headings of `text`."""
    titles = (re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", match["title"]) for match in HEADING.finditer(prose(text)))
    return frozenset(re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles)


def broken(document: Path, root: Path) -> Iterator[str]:
    """Say which relative links of `document` lead nowhere."""
    name = document.relative_to(root).as_posix()
    for match in LINK.finditer(CODE.sub("", prose(document.read_text()))):
        target = match["target"]
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        found = document if not path else (document.parent / unquote(path)).resolve()
        if not found.exists():
            yield f"{name}: {target} leads to nothing"
        elif anchor and found.suffix == ".md" and anchor not in anchors(found.read_text()):
            yield f"{name}: {target}: no such heading"


def main() -> int:
    """Check all Markdown files of the repository and return the exit status."""
    documents = tree.files(suffixes=frozenset({".md"}))
    found = [sentence for document in documents for sentence in broken(document, tree.ROOT)]
    print("\n".join(found) or f"links: all lead somewhere in {len(documents)} documents")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
