"""The health port: what a kubelet, Prometheus and the operator ask a worker."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from lectern_contract.errors import ConfigurationError
from lectern_runtime.telemetry import health


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_port_tells_life_readiness_metrics_and_configuration() -> None:
    registry, reasons = CollectorRegistry(), ["waiting for the log"]
    Counter("documents", "Documents.", registry=registry).inc(3)
    configuration = {"runtime": "worker", "config_hash": "abc"}

    with health.serving(
        ("127.0.0.1", 0), registry=registry, configuration=configuration, not_ready=lambda: reasons[-1]
    ) as port:
        assert get(port, "/livez")[0] == 200
        status, body = get(port, "/readyz")
        assert (status, json.loads(body)) == (503, {"ready": False, "reason": "waiting for the log"})
        reasons.append("")
        assert get(port, "/readyz?verbose")[0] == 200
        assert json.loads(get(port, "/configz")[1]) == configuration
        assert "documents_total 3.0" in get(port, "/metrics")[1]
        assert get(port, "/secrets")[0] == 404

    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = ("127.0.0.1", taken.getsockname()[1])
        with (
            pytest.raises(ConfigurationError, match="cannot be used"),
            health.serving(address, registry=CollectorRegistry(), configuration={}, not_ready=lambda: ""),
        ):
            pytest.fail("it was opened twice")
