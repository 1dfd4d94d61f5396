"""A bare FastAPI app that gives back what it is sent: the floor under every HTTP figure.

`query_latency` runs it as a program (`python -m bench.echo PORT`) beside the real one, with the same server.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

from bench.processes import HOST


def create_app() -> FastAPI:
    """Return the app: a probe and an echo."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/echo")
    async def echo(body: dict[str, Any]) -> dict[str, Any]:
        return body

    return app


def main() -> None:
    """Serve on the port that the command line names."""
    uvicorn.run(create_app(), host=HOST, port=int(sys.argv[1]), log_config=None, access_log=False)


if __name__ == "__main__":
    main()
