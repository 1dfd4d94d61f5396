"""Runs the double: `python -m e2e.testbed.qdrant_double --port N --data DIRECTORY [--api-key-file FILE]`."""

import argparse
from pathlib import Path

import uvicorn

from e2e.testbed.qdrant_double.app import Server


def main() -> None:
    """Serve on loopback until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m e2e.testbed.qdrant_double", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    parser.add_argument("--data", type=Path, required=True, help="directory of the state; made when it is absent")
    parser.add_argument("--api-key-file", type=Path, help="file with the API key that requests must carry")
    options = parser.parse_args()
    api_key = options.api_key_file.read_text().strip() if options.api_key_file else None
    server = Server(options.data, api_key or None)
    uvicorn.run(
        server.app(), host="127.0.0.1", port=options.port, log_level="warning", timeout_graceful_shutdown=2, http="h11"
    )


main()
