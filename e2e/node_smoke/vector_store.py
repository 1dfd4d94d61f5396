"""The Qdrant double at an address that pods reach: `python -m e2e.node_smoke.vector_store HOST PORT DIRECTORY`."""

import sys
from pathlib import Path

import uvicorn

from e2e.testbed.qdrant_double.app import Server


def main(host: str, port: str, directory: str) -> None:
    """Serve until SIGTERM."""
    app = Server(Path(directory), None).app()
    uvicorn.run(app, host=host, port=int(port), log_level="warning", timeout_graceful_shutdown=2, http="h11")


if __name__ == "__main__":
    main(*sys.argv[1:])
