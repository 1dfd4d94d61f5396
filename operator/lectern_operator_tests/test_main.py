"""The program: options, how kopf is set up, and the answers of its own port."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import aiohttp
import pytest
from kubernetes.aio.client import Configuration

from lectern_contract import names
from lectern_contract.errors import ConfigurationError
from lectern_operator import main
from lectern_operator.clients import kinds
from lectern_operator.handlers.serving import serving
from lectern_operator.handlers.telemetry import Telemetry


def test_defaults_watch_everything_from_within_the_cluster() -> None:
    found = main.options([], {})
    assert (found.namespaces, found.kubeconfig, found.port) == ((), None, 8080)
    assert found.images.worker == "lectern-worker"


def test_the_command_line_goes_before_the_environment(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.touch()
    environment = {
        "KUBECONFIG": "/nowhere",
        "LECTERN_NAMESPACES": "c",
        "LECTERN_IMAGE_QUERY": "example.com/query:1",
        "LECTERN_IMAGE_TEXT_EMBEDDINGS": "example.com/tei",
    }
    found = main.options(["--namespace=a", "--namespace=b", f"--kubeconfig={kubeconfig}"], environment)
    assert (found.namespaces, found.kubeconfig) == (("a", "b"), kubeconfig)
    assert found.images.query == "example.com/query:1"
    assert found.images.text_embeddings_for(None) == "example.com/tei:cpu-1.9"
    assert main.options([], {"LECTERN_NAMESPACES": "x,y"}).namespaces == ("x", "y")


def test_a_kubeconfig_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match="kubeconfig nowhere does not exist"):
        main.options(["--kubeconfig=nowhere"], {})
    assert main.main(["--kubeconfig=nowhere"]) == 2
    assert "name one with --kubeconfig" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["--workers=0", "--resync-seconds=-1", "--log-level=LOUD", "--unknown"])
def test_wrong_options_end_with_status_2(wrong: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main.options([wrong], {})
    assert ended.value.code == 2


def test_kopf_is_patient_and_writes_nothing() -> None:
    settings = main.kopf_settings()
    assert sum(main.BACKOFFS) > 300, "an outage of minutes must not end the process"
    assert settings.posting.enabled is False
    assert settings.persistence.finalizer != names.FINALIZER, "kopf takes away what it takes for its own"


@pytest.mark.parametrize("token", ["Bearer abc", "bearer abc", "abc"])
async def test_kopf_goes_in_as_our_own_client_does(token: str) -> None:
    configuration = Configuration(host="https://api.example:6443", ssl_ca_cert="/ca.crt")
    configuration.api_key["BearerToken"] = token
    found = await main.connection(configuration)
    assert (found.server, found.ca_path, found.token) == ("https://api.example:6443", "/ca.crt", "abc")
    assert (found.scheme or "").lower() == "bearer"


async def test_a_client_certificate_is_passed_on() -> None:
    configuration = Configuration(host="https://api.example:6443")
    configuration.cert_file, configuration.key_file = "/c.crt", "/c.key"
    found = await main.connection(configuration)
    assert (found.certificate_path, found.private_key_path, found.token) == ("/c.crt", "/c.key", None)


async def test_health_and_metrics_are_served() -> None:
    telemetry, said = Telemetry(), {"healthz": False, "readyz": False}
    telemetry.called("PATCH", "Deployment", 201)
    telemetry.show_conditions(lambda: {("KnowledgeBase", "Ready", "True"): 2})
    async with (
        serving(telemetry, 0, healthy=lambda: said["healthz"], ready=lambda: said["readyz"]) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        for probe in said:
            async with session.get(f"/{probe}") as answer:
                assert answer.status == 503
            said[probe] = True
            async with session.get(f"/{probe}") as answer:
                assert answer.status == 200
        async with session.get("/metrics") as answer:
            text = await answer.text()
    assert 'lectern_operator_api_calls_total{code="201",kind="Deployment",verb="PATCH"} 1.0' in text
    assert 'lectern_operator_conditions{condition="Ready",kind="KnowledgeBase",status="True"} 2.0' in text


def test_a_log_line_is_one_json_object() -> None:
    record = logging.LogRecord("lectern.operator", logging.INFO, "f", 1, "pass", None, None)
    record.__dict__ |= {"kind": "KnowledgeBase", "object": "team/docs", "result": "done"}
    found = json.loads(main.JsonLines().format(record))
    assert (found["level"], found["kind"], found["object"]) == ("INFO", "KnowledgeBase", "team/docs")


def test_paths_of_kinds_on_the_server() -> None:
    assert kinds.ALL["Pod"].path("team") == "/api/v1/namespaces/team/pods"
    assert kinds.ALL["KnowledgeBase"].path() == "/apis/lectern.dev/v1alpha1/knowledgebases"
    path = kinds.ALL["Deployment"].path("team", "d", "status")
    assert path == "/apis/apps/v1/namespaces/team/deployments/d/status"
