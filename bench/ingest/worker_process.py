"""The worker's own program with a STUB in place of the embedding model: `python -m bench.ingest.worker_process`.

Everything else is `lectern_runtime.embed.__main__` as it is shipped: settings file, adapters, sandbox, port, signals.
`--well-when FILE` lets the stub fail at marked texts until that file is there; `--forgetful` puts a store that keeps
nothing in place of the real one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.ingest.stub_embedder import StubEmbedder
from bench.ingest.stub_store import ForgetfulStore
from lectern_contract.settings import EmbedderSettings, StoreSettings
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.embed import __main__ as worker
from lectern_runtime.failpoints import Failpoint, no_failpoint
from lectern_runtime.ports import Embedder, VectorStore


def main(arguments: Sequence[str]) -> int:
    """Run the worker; arguments that are not ours are the worker's."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest.worker_process", description=__doc__)
    parser.add_argument("--well-when", type=Path, default=None)
    parser.add_argument("--forgetful", action="store_true")
    options, others = parser.parse_known_args(arguments)

    def stub(settings: EmbedderSettings) -> Embedder:
        del settings  # they name a model, and the stub is none
        return StubEmbedder.open(well_when=options.well_when)

    compose.open_embedder = stub
    if options.forgetful:
        compose.open_store = _forgetful
    return worker.main(others)


async def _forgetful(
    settings: StoreSettings, data: DataDirectory | None, *, failpoint: Failpoint = no_failpoint
) -> VectorStore:
    del settings, data, failpoint
    return ForgetfulStore()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
