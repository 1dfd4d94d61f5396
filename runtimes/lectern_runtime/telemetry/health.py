"""The small HTTP port of a runtime that serves no API of its own: `/livez`, `/readyz`, `/metrics`, `/configz`.

The worker's main opens it before the work begins, in a thread of its own, so that probes are answered while
the event loop is busy. The query runtime has the same four as routes of its API.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from lectern_contract.errors import ConfigurationError
from lectern_runtime.telemetry.logging import described

logger = logging.getLogger("lectern.health")
REQUEST_SECONDS = 5
Reply = tuple[HTTPStatus, str, bytes]


@contextmanager
def serving(
    address: tuple[str, int],
    *,
    registry: CollectorRegistry,
    configuration: Mapping[str, str],
    not_ready: Callable[[], str],
) -> Iterator[int]:
    """Answer on `address` until the context is left; yields the port. Raises `ConfigurationError` when it is taken.

    `configuration` is what `/configz` tells; `/readyz` says 503 with the reason that `not_ready` gives, or 200 where
    it gives none.
    """

    def reply(path: str) -> Reply:
        match path:
            case "/livez":
                return _json(HTTPStatus.OK, {"live": True})
            case "/readyz":
                reason = not_ready()
                status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
                return _json(status, {"ready": not reason, "reason": reason})
            case "/configz":
                return _json(HTTPStatus.OK, configuration)
            case "/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)
            case _:
                return _json(HTTPStatus.NOT_FOUND, {"title": "no such route", "status": 404})

    try:
        server = _Server(address, _handler(reply))
    except OSError as error:
        host, port = address
        raise ConfigurationError(
            f"port {port} of {host} cannot be used: {error.strerror}; stop what listens there or choose another --port"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(REQUEST_SECONDS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say which kind of error a probe ended in, as a log line: the base class prints a traceback."""
        error = sys.exc_info()[1]
        logger.debug("a probe was not answered", extra=described(error) if error is not None else {})


def _json(status: HTTPStatus, body: Mapping[str, object]) -> Reply:
    return status, "application/json", json.dumps(body).encode()


def _handler(reply: Callable[[str], Reply]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS
        server_version, sys_version = "lectern", ""

        def do_GET(self) -> None:
            status, media_type, body = reply(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 the base class chooses the name
            """Say nothing: a probe every few seconds is no news."""

    return Handler
