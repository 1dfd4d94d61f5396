"""The operator's own HTTP port: /healthz and /readyz for the kubelet, /metrics for Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import generate_latest

from lectern_operator.handlers.telemetry import Telemetry


@asynccontextmanager
async def serving(
    telemetry: Telemetry, port: int, *, healthy: Callable[[], bool], ready: Callable[[], bool]
) -> AsyncIterator[int]:
    """Serve until the end of the block; yields the port (another one where `port` is 0).

    `ready` says that everything has been listed and is watched; a standby is ready too.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if healthy() else web.Response(status=503, text="not watching\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="not listed yet\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(telemetry.registry), content_type="text/plain")

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 -- the kubelet comes from outside the pod
        addresses = runner.addresses
        yield int(addresses[0][1])
    finally:
        await runner.cleanup()
