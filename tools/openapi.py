"""Writes the committed OpenAPI documents of the query API and the push API, or with `--check` says which are stale.

The runtimes' routes and models are the source; `make generate` and `make generated` call this beside
`lectern_operator.generate`, which may not import the runtimes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lectern_runtime.ingest.receiver import app as receiver
from lectern_runtime.query import app as query

FILES = {
    Path("docs/reference/openapi.json"): query.openapi_document,
    Path("docs/reference/receiver-openapi.json"): receiver.openapi_document,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or compare them; exit status 1 when one is stale."""
    parser = argparse.ArgumentParser(prog="tools.openapi", description="Write the OpenAPI documents of the APIs.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when a file is stale")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository")
    options = parser.parse_args(arguments)
    stale = 0
    for place, document in FILES.items():
        file = options.root / place
        wanted = json.dumps(document(), indent=2, sort_keys=True) + "\n"
        if file.exists() and file.read_text() == wanted:
            continue
        if options.check:
            print(f"{place} is stale: run make generate", file=sys.stderr)
            stale = 1
            continue
        file.write_text(wanted)
        print(f"wrote {place}")
    return stale


if __name__ == "__main__":
    sys.exit(main())
