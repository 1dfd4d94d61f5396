"""What the chart renders, without a cluster: golden files, rights, images, and equality with the Kustomize base."""

from __future__ import annotations

import copy
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.chart_tests.rendering import (
    BASE,
    CHART,
    NAMESPACE,
    ROOT,
    SERVICE_MONITOR,
    VARIANTS,
    Manifest,
    by_key,
    kustomized,
    of_kind,
    pods,
    rendered,
)
from e2e.testbed.helm import Helm, HelmFailed
from lectern_operator import main, rights
from lectern_operator.desired.images import Images
from lectern_operator.rights import Reach

GOLDEN = Path(__file__).with_name("golden")
ROLES = ("ClusterRole", "Role")
OF_HELM = ("app.kubernetes.io/managed-by", "app.kubernetes.io/part-of", "app.kubernetes.io/version", "helm.sh/chart")


@pytest.mark.parametrize("variant", VARIANTS)
def test_manifests_are_those_that_were_reviewed(helm_alone: Helm, variant: str) -> None:
    text = _reviewable(rendered(helm_alone, *VARIANTS[variant]))
    golden = GOLDEN / f"{variant}.yaml"
    if os.environ.get("LECTERN_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def _reviewable(manifests: list[Manifest]) -> str:
    """Return manifests as text, without what has a test of its own: definitions, rules and the test's program."""
    kept = [copy.deepcopy(each) for each in manifests if each["kind"] != "CustomResourceDefinition"]
    for each in kept:
        if each["kind"] in ROLES:
            each["rules"] = "of the table of rights"
        if each["kind"] == "Pod":
            each["spec"]["containers"][0]["command"][-1] = "charts/lectern/tests/smoke.py"
    return yaml.safe_dump_all(kept, sort_keys=True, width=110)


@pytest.mark.parametrize("variant", ["default", "everything"])
def test_definitions_are_the_committed_ones_and_stay(helm_alone: Helm, variant: str) -> None:
    found = of_kind(rendered(helm_alone, *VARIANTS[variant]), "CustomResourceDefinition")
    assert [each["metadata"].pop("annotations") for each in found] == [{"helm.sh/resource-policy": "keep"}] * 3
    assert all(each["metadata"].pop("labels") for each in found)
    assert found == [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("*.yaml"))]


def test_definitions_are_left_out_or_let_go_when_asked(helm_alone: Helm) -> None:
    assert of_kind(rendered(helm_alone, "--set", "crds.enabled=false"), "CustomResourceDefinition") == []
    found = of_kind(rendered(helm_alone, "--set", "crds.keep=false"), "CustomResourceDefinition")
    assert [each["metadata"].get("annotations") for each in found] == [None] * 3


def test_for_all_namespaces_secrets_are_granted_only_where_they_are_named(helm_alone: Helm) -> None:
    found = by_key(rendered(helm_alone, "--set", "rbac.secretNamespaces={team-a,team-b}"))
    assert _rules(found["ClusterRole//lectern-operator"]) == _wanted(Reach.WATCHED)
    assert _rules(found["ClusterRole//lectern-secrets"]) == _wanted(Reach.SECRETS)
    assert _rules(found[f"Role/{NAMESPACE}/lectern-operator-lease"]) == _wanted(Reach.OWN)
    bindings = of_kind(found.values(), "ClusterRoleBinding", "RoleBinding")
    assert {(each["kind"], each["metadata"].get("namespace"), each["roleRef"]["name"]) for each in bindings} == {
        ("ClusterRoleBinding", None, "lectern-operator"),
        ("RoleBinding", "team-a", "lectern-secrets"),
        ("RoleBinding", "team-b", "lectern-secrets"),
        ("RoleBinding", NAMESPACE, "lectern-operator-lease"),
    }


def test_for_named_namespaces_there_are_roles_in_them_and_nothing_else(helm_alone: Helm) -> None:
    found = by_key(rendered(helm_alone, *VARIANTS["namespaced"]))
    for namespace in ("team-a", "team-b"):
        assert _rules(found[f"Role/{namespace}/lectern-operator"]) == _wanted(Reach.WATCHED, Reach.SECRETS)
        assert f"RoleBinding/{namespace}/lectern-operator" in found
    assert of_kind(found.values(), "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition") == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_rule_is_a_wildcard_or_a_way_to_more_rights(helm_alone: Helm, variant: str) -> None:
    manifests = rendered(helm_alone, *VARIANTS[variant], "--set", "rbac.secretNamespaces={team-a}")
    for role in of_kind(manifests, *ROLES):
        for rule in role["rules"]:
            assert set(rule) == {"apiGroups", "resources", "verbs"}
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not words & {"*", "escalate", "bind", "impersonate", "rbac.authorization.k8s.io"}, role["metadata"]
            assert "secrets" not in rule["resources"] or not {"list", "watch", "update", "patch", "delete"} & words


def test_people_get_the_kinds_through_the_roles_of_the_cluster(helm_alone: Helm) -> None:
    found = by_key(rendered(helm_alone))
    for role in rights.user_roles():
        manifest = found[f"ClusterRole//lectern-{role.name}"]
        prefix = "rbac.authorization.k8s.io/aggregate-to-"
        labels = {key.removeprefix(prefix) for key in manifest["metadata"]["labels"] if key.startswith(prefix)}
        assert (labels, manifest["rules"]) == (set(role.into), list(role.rules))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_container_asks_for_resources_and_has_no_root(helm_alone: Helm, variant: str) -> None:
    found = dict(pods(rendered(helm_alone, *VARIANTS[variant])))
    assert len(found) == 3, "operator, finalize and test"
    for name, pod in found.items():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        for container in pod["spec"]["containers"]:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


class Recorded(Mapping[str, str]):
    """An environment that notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_the_operator_is_told_all_that_it_reads_from_its_environment(helm_alone: Helm) -> None:
    asked = Recorded()
    main.options([], asked)
    labels = "metrics.serviceMonitor.labels.release=prometheus,metrics.serviceMonitor.labels.team=a"
    settings = ("--set", "images.pullSecrets={one,two}", "--set", f"metrics.namespace=monitoring,{labels}")
    container = _operator(rendered(helm_alone, *settings))
    environment = {each["name"]: each.get("value", "lectern-system") for each in container["env"]}
    assert set(environment) == asked.asked - {"KUBECONFIG"}
    chosen = main.options(container["args"], environment)
    assert (chosen.workers, chosen.resync_seconds, chosen.port, chosen.log_level) == (16, 600.0, 8080, "INFO")
    assert chosen.lease_namespace == "lectern-system"
    assert chosen.images == Images(
        worker="lectern-worker:0.1.0",
        connector="lectern-ingest:0.1.0",
        query="lectern-query:0.1.0",
        pull_secrets=("one", "two"),
        monitoring_namespace="monitoring",
        monitor_labels=(("release", "prometheus"), ("team", "a")),
    )


def _operator(manifests: list[Manifest]) -> Manifest:
    """Return the operator's container."""
    (deployment,) = of_kind(manifests, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Manifest = container
    return found


def test_service_monitor_appears_with_its_kind(helm_alone: Helm) -> None:
    assert of_kind(rendered(helm_alone), "ServiceMonitor") == []
    assert len(of_kind(rendered(helm_alone, "--api-versions", SERVICE_MONITOR), "ServiceMonitor")) == 1


def test_names_keep_within_their_limits_and_apart_from_each_other(helm_alone: Helm) -> None:
    long = "a-release-with-a-name-of-the-most-letters-it-may-have"
    text = helm_alone.run("template", long, str(CHART), "--set", "rbac.secretNamespaces={x}")
    found = by_key(each for each in yaml.safe_load_all(text) if each)
    assert max(len(key.rpartition("/")[2]) for key in found if not key.startswith("Custom")) <= 63


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("operator.replica=2", "additional properties 'replica' not allowed"),
        ("watchNamespace={a}", "additional properties 'watchNamespace' not allowed"),
        ("operator.strategy=BlueGreen", "value must be one of 'RollingUpdate', 'Recreate'"),
        ("images.operator.digest=sha256:short", "does not match pattern"),
        ("watchNamespaces={Team_A}", "does not match pattern"),
        ("operator.resources.requests=null", "missing property 'requests'"),
        ("operator.workers=0", "minimum"),
    ],
)
def test_a_typo_in_a_value_is_refused_by_its_name(helm_alone: Helm, setting: str, words: str) -> None:
    with pytest.raises(HelmFailed, match=words):
        rendered(helm_alone, "--set", setting)


def test_every_value_has_a_description_and_the_schema_knows_no_other(helm_alone: Helm) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert sorted(_paths(values)) == sorted(path for path in _described(schema) if path != "global")
    shown = yaml.safe_load(helm_alone.run("show", "values", str(CHART)))
    assert shown == values


def _paths(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value and name not in ("requests", "limits"):
            yield from _paths(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def _described(schema: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, child in schema["properties"].items():
        if "properties" in child:
            yield from _described(child, f"{before}{name}.")
        elif f"{before}{name}" != "operator.resources.claims":
            assert child["description"].endswith("."), f"{before}{name} has no description"
            yield f"{before}{name}"


def test_the_chart_is_of_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    images = {
        container["image"].partition(":")[2]
        for _, pod in pods(kustomized(BASE))
        for container in pod["spec"]["containers"]
    }
    assert images == {version}


def test_the_kustomize_base_makes_what_the_chart_makes_by_default(helm_alone: Helm) -> None:
    hooks = ("Job", "Pod")
    of_chart = {
        key: _without_helm(each) for key, each in by_key(rendered(helm_alone)).items() if each["kind"] not in hooks
    }
    of_base = by_key(kustomized(BASE))
    namespace = of_base.pop(f"Namespace//{NAMESPACE}")
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert {key: _without_helm(each) for key, each in of_base.items()} == of_chart


def _without_helm(manifest: Manifest) -> Manifest:
    """Return `manifest` without Helm's labels and annotations, and without labels that select nothing."""
    result = copy.deepcopy(manifest)
    metadata = result["metadata"]
    aggregated = {key: value for key, value in metadata.pop("labels", {}).items() if "aggregate-to-" in key}
    metadata.pop("annotations", None)
    if aggregated:
        metadata["labels"] = aggregated
    for label in OF_HELM:
        result.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {}).pop(label, None)
    return result


def _overlay(directory: Path, number: int) -> list[Manifest]:
    """Return what the overlay makes that docs/install.md shows as its example `number`."""
    text = (ROOT / "docs" / "install.md").read_text()
    example = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[number]
    relative = os.path.relpath(ROOT, directory)
    (directory / "kustomization.yaml").write_text(example.replace("../lectern", relative))
    return kustomized(directory)


def test_the_overlay_of_the_documentation_takes_the_images_from_elsewhere(tmp_path: Path) -> None:
    environment = {each["name"]: each.get("value") for each in _operator(kustomized(BASE))["env"]}
    container = _operator(_overlay(tmp_path, 0))
    changed = {each["name"]: each.get("value") for each in container["env"]}
    elsewhere = {name: value for name, value in changed.items() if value != environment[name]}
    assert container["image"] == "registry.example.com/lectern-operator:0.1.0"
    assert elsewhere == {
        "LECTERN_IMAGE_CONNECTOR": "registry.example.com/lectern-ingest:0.1.0",
        "LECTERN_IMAGE_QUERY": "registry.example.com/lectern-query:0.1.0",
        "LECTERN_IMAGE_WORKER": "registry.example.com/lectern-worker:0.1.0",
    }


def test_the_overlay_of_the_documentation_grants_the_secrets_of_one_namespace(tmp_path: Path) -> None:
    (binding,) = _overlay(tmp_path, 1)
    assert binding["metadata"] == {"name": "lectern-secrets", "namespace": "docs"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "lectern-operator", "namespace": NAMESPACE}]


def _rules(role: Manifest) -> frozenset[tuple[str, str, str]]:
    return frozenset(
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def _wanted(*reaches: Reach) -> frozenset[tuple[str, str, str]]:
    return rights.granted(*reaches)
