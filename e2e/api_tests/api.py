"""A quick client for Lectern's kinds on the real API server: a document in, the server's verdict out.

One kept-open connection instead of a kubectl a request, because the tests of this folder ask some thousand times.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from e2e.testbed.control_plane import ControlPlane
from lectern_contract import resources

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """What the server said: the object as it would be stored, or the message of the refusal."""

    status: int
    message: str
    body: Mapping[str, Any]

    @property
    def accepted(self) -> bool:
        """Whether the document became, or would become, an object."""
        return self.status < 300


class Api:
    """The server as an administrator of one namespace sees it; unknown fields are refused, as kubectl asks."""

    def __init__(self, client: httpx.Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def try_out(self, document: Mapping[str, Any]) -> Answer:
        """Let the server judge a new object and fill in its defaults, without storing it."""
        return self._send("POST", document, name="", dry_run=True)

    def create(self, document: Mapping[str, Any]) -> Answer:
        """Store a new object."""
        return self._send("POST", document, name="", dry_run=False)

    def try_update(self, document: Mapping[str, Any]) -> Answer:
        """Let the server judge a stored object's next state, without storing it."""
        return self._send("PUT", document, name=f"/{document['metadata']['name']}", dry_run=True)

    def delete(self, document: Mapping[str, Any]) -> Answer:
        """Delete a stored object."""
        return self._send("DELETE", document, name=f"/{document['metadata']['name']}", dry_run=False)

    def _send(self, method: str, document: Mapping[str, Any], *, name: str, dry_run: bool) -> Answer:
        plural = resources.KINDS[document["kind"]].plural
        path = f"/apis/{resources.API_VERSION}/namespaces/{self._namespace}/{plural}{name}"
        content = b"" if method == "DELETE" else json.dumps(document).encode()
        query = {} if method == "DELETE" else {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        answer = self._client.request(method, path, content=content, params=query)
        body = answer.json()
        return Answer(answer.status_code, str(body.get("message", "")), body)


def client(plane: ControlPlane) -> httpx.Client:
    """Return an administrator's connection; the caller closes it."""
    return httpx.Client(
        base_url=plane.url,
        verify=ssl.create_default_context(cafile=str(plane.ca_file)),
        headers={"Authorization": f"Bearer {plane.token}", "Content-Type": "application/json"},
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
    )
