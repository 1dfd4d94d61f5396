"""The real kubectl finds the kinds by short name and category and prints the models' columns."""

from __future__ import annotations

import pytest

from e2e.api_tests.api import Api
from e2e.testbed.control_plane import ControlPlane
from lectern_contract import resources
from lectern_runtime_tests.contract.wrong_documents import BASES, document

STATUS = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "ComponentNotReady",
            "message": "waiting for the embedder",
            "lastTransitionTime": "2026-11-21T00:00:00Z",
            "observedGeneration": 1,
        }
    ],
}


@pytest.fixture
def namespace_with_all(control_plane: ControlPlane, api: Api, namespace: str) -> str:
    """A namespace with one object of every kind, each with a status."""
    assert api is not None  # the definitions are installed
    for kind in BASES:
        path = f"/apis/{resources.API_VERSION}/namespaces/{namespace}/{resources.KINDS[kind].plural}"
        control_plane.request("POST", path, document(kind, {}, name="shown"))
        control_plane.request(
            "PATCH", f"{path}/shown/status", {"status": STATUS}, content_type="application/merge-patch+json"
        )
    return namespace


@pytest.mark.parametrize("kind", BASES)
def test_kubectl_prints_the_columns_of_the_model_by_short_name(
    kind: str, control_plane: ControlPlane, namespace_with_all: str
) -> None:
    model = resources.KINDS[kind]
    narrow, wide = (
        control_plane.kubectl("get", model.short_name, "-n", namespace_with_all, *how).stdout.splitlines()
        for how in ((), ("-o", "wide"))
    )
    # Two spaces at least lie between columns; a header has no more than one inside.
    heads = [[head.strip() for head in line[0].split("  ") if head.strip()] for line in (narrow, wide)]
    assert heads[0] == ["NAME", *(column.name.upper() for column in model.columns if column.priority == 0)]
    assert heads[1] == ["NAME", *(column.name.upper() for column in model.columns)]
    assert narrow[1].split()[:3] == ["shown", "False", "ComponentNotReady"]
    assert "waiting for the embedder" in wide[1]


@pytest.mark.parametrize("what", [resources.CATEGORY, "kb,isrc,rag"])
def test_kubectl_lists_all_kinds_at_once(what: str, control_plane: ControlPlane, namespace_with_all: str) -> None:
    listed = control_plane.kubectl("get", what, "-n", namespace_with_all, "-o", "name").stdout.split()
    assert sorted(listed) == sorted(f"{kind.lower()}.{resources.GROUP}/shown" for kind in BASES)


@pytest.mark.parametrize("kind", BASES)
def test_kubectl_waits_on_the_condition_and_explains_the_spec(
    kind: str, control_plane: ControlPlane, namespace_with_all: str
) -> None:
    control_plane.kubectl(
        "wait", f"{kind.lower()}/shown", "-n", namespace_with_all, "--for=condition=Ready=False", "--timeout=10s"
    )
    explained = control_plane.kubectl("explain", f"{kind.lower()}.spec").stdout
    for field in resources.KINDS[kind].model_fields["spec"].annotation.model_fields.values():  # type: ignore[union-attr] # a model
        assert f"  {field.alias}\t" in explained
        assert " ".join((field.description or "").split())[:30] in " ".join(explained.split())
