"""Writes the committed OpenAPI document of the query API, or with `--check` says that it is stale.

The query runtime's routes and models are the source; `make generate` and `make generated` call this beside
`lectern_operator.generate`, which may not import the runtimes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lectern_runtime.query.app import openapi_document

FILE = Path("docs/reference/openapi.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or compare it; exit status 1 when it is stale."""
    parser = argparse.ArgumentParser(prog="tools.openapi", description="Write docs/reference/openapi.json.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when the file is stale")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository")
    options = parser.parse_args(arguments)
    file = options.root / FILE
    wanted = json.dumps(openapi_document(), indent=2, sort_keys=True) + "\n"
    if file.exists() and file.read_text() == wanted:
        return 0
    if options.check:
        print(f"{FILE} is stale: run make generate", file=sys.stderr)
        return 1
    file.write_text(wanted)
    print(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
