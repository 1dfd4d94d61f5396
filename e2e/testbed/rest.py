"""Plain requests to an API server with a bearer token: a dict in, a dict out, one connection each.

`ControlPlane.request`, the fixtures and the start-up probe use it; starting `kubectl` costs fifty times as much.
The fakes, which watch, have their own asynchronous client in `api`.
"""

import http.client
import json
import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from e2e.testbed.errors import ApiRefused

MAX_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Rest:
    """Who asks (`token`) which API server (`url`), and the CA that signed its certificate."""

    url: str
    ca_file: Path
    token: str

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        timeout: float = 10.0,
    ) -> dict[str, Any]:
        """Send `body` as JSON and return the answer; an answer that is no JSON object comes back as `{"text": ...}`.

        Raises ApiRefused for a status of 400 or more and OSError when there is no answer within `timeout` seconds.
        """
        address = urlsplit(self.url)
        connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, timeout=timeout, context=self._tls
        )
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, "Accept": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read(MAX_ANSWER_BYTES)
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        return judged(method, path, answer.status, content)


def judged(method: str, path: str, status: int, content: bytes) -> dict[str, Any]:
    """Return the JSON object in `content`, or raise ApiRefused with the server's own message."""
    try:
        parsed = json.loads(content)
    except ValueError:
        parsed = None
    found: dict[str, Any] = parsed if isinstance(parsed, dict) else {"text": content.decode(errors="replace")}
    if status >= 400:
        message = found.get("message") or found.get("text", "")
        raise ApiRefused(status, str(found.get("reason") or ""), f"{method} {path} answered {status}: {message}")
    return found
