"""Run by `helm test` inside the cluster: the operator is healthy, and the API server serves its three kinds."""

import json
import os
import ssl
import sys
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

KINDS = {"IngestionSource", "KnowledgeBase", "RagEndpoint"}
ACCOUNT = Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
SECONDS = 10


def asked(connection: HTTPConnection, path: str, headers: dict[str, str]) -> bytes:
    """Return the body of the answer, or end with what went wrong."""
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        sys.exit(f"{connection.host}{path} answers {answer.status}: {body[:200].decode(errors='replace')}")
    return body


host, port = os.environ["OPERATOR"].split(":")
asked(HTTPConnection(host, int(port), timeout=SECONDS), "/healthz", {})
sys.stdout.write("the operator is healthy\n")

trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
token = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
found = asked(HTTPSConnection(host, port, timeout=SECONDS, context=trusted), "/apis/lectern.dev/v1alpha1", token)
served = {resource["kind"] for resource in json.loads(found)["resources"]}
if missing := KINDS - served:
    sys.exit(f"not served: {', '.join(sorted(missing))}; install the chart with crds.enabled=true")
sys.stdout.write("the API server serves all three kinds\n")
