"""Settings: one file, canonical, refused when it is not exactly what this release reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lectern_contract import query_wiring, settings, wiring
from lectern_contract.errors import ConfigurationError, SettingsInvalid
from lectern_contract.resources import IngestionSource, KnowledgeBase, RagEndpoint, parse_as


def document(kind: str, spec: dict[str, Any], name: str = "docs") -> dict[str, Any]:
    return {
        "apiVersion": "lectern.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "n"},
        "spec": spec,
    }


def knowledge_base(**spec: Any) -> KnowledgeBase:
    return parse_as(KnowledgeBase, document("KnowledgeBase", {"embedding": {"model": "m", "dimensions": 8}, **spec}))


def source(**spec: Any) -> IngestionSource:
    base = {"knowledgeBaseRef": "docs", "persistentVolume": {"claimName": "c"}, "partition": {"tenant": "t"}}
    return parse_as(IngestionSource, document("IngestionSource", {**base, **spec}))


def endpoint(**spec: Any) -> RagEndpoint:
    return parse_as(RagEndpoint, document("RagEndpoint", {"knowledgeBaseRefs": ["docs"], **spec}))


ALL: list[settings.AnySettings] = [
    wiring.worker_settings(knowledge_base(), generation=1),
    wiring.connector_settings(source(), knowledge_base()),
    wiring.receiver_settings(source(persistentVolume=None, push={}), knowledge_base()),
    query_wiring.query_settings(endpoint(), {"docs": knowledge_base()}),
]
KINDS = [each.runtime for each in ALL]


@pytest.mark.parametrize("written", ALL, ids=KINDS)
def test_what_is_written_is_what_is_loaded(written: settings.AnySettings) -> None:
    assert settings.load(settings.canonical(written).encode()) == written


@pytest.mark.parametrize("written", ALL, ids=KINDS)
def test_equal_settings_give_equal_bytes_and_any_change_another_hash(written: settings.AnySettings) -> None:
    again = type(written).model_validate(written.model_dump())
    changed = written.model_copy(update={"namespace": "other"})

    assert settings.canonical(again) == settings.canonical(written)
    assert settings.config_hash(changed) != settings.config_hash(written)


@pytest.mark.parametrize("written", ALL, ids=KINDS)
def test_every_missing_or_unknown_field_is_refused_by_name(written: settings.AnySettings) -> None:
    content = json.loads(settings.canonical(written))
    required = [name for name, field in type(written).model_fields.items() if field.is_required()]
    wrong = {name: {key: value for key, value in content.items() if key != name} for name in required}
    wrong["surprise"] = {**content, "surprise": 1}

    for name, body in wrong.items():
        with pytest.raises(SettingsInvalid, match=name):
            settings.load(json.dumps(body).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"runtime": "teapot"}', b"\xff"])
def test_what_is_no_settings_file_is_refused(data: bytes) -> None:
    with pytest.raises(SettingsInvalid, match=r"settings\.json"):
        settings.load(data)


@pytest.mark.parametrize("written", ALL, ids=KINDS)
@pytest.mark.parametrize(("version", "older"), [(0, "the operator is older"), (2, "this image is older")])
def test_another_schema_version_is_refused_before_all_else(
    written: settings.AnySettings, version: int, older: str
) -> None:
    content = {"fields": "of another schema", "schema_version": version, "runtime": written.runtime}

    with pytest.raises(SettingsInvalid) as refused:
        settings.load(json.dumps(content).encode())

    assert str(refused.value) == (
        f"settings.json: schema_version: {version} was written and this image reads 1; "
        f"the operator and this image must be of one release ({older})"
    )


@pytest.mark.parametrize("version", ["1", None, 1.5])
def test_a_schema_version_that_is_none_is_refused(version: object) -> None:
    content = {**json.loads(settings.canonical(ALL[0])), "schema_version": version}

    with pytest.raises(SettingsInvalid, match=r"settings\.json: schema_version: Input should be"):
        settings.load(json.dumps(content).encode())


def test_a_file_without_a_schema_version_is_refused() -> None:
    content = json.loads(settings.canonical(ALL[0]))
    del content["schema_version"]

    with pytest.raises(SettingsInvalid, match=r"settings\.json: schema_version: Field required"):
        settings.load(json.dumps(content).encode())


SECRET = {"name": "s", "key": "k"}
REMOTE = {
    "vectorStore": {"url": "http://q:6333", "apiKeySecretRef": SECRET},
    "messaging": {
        "bootstrapServers": "k:9092",
        "securityProtocol": "SASL_SSL",
        "saslMechanism": "PLAIN",
        "credentialsSecretRef": {"name": "s"},
    },
    "blobStore": {"s3": {"endpoint": "http://s3", "bucket": "docs", "credentialsSecretRef": {"name": "s"}}},
}


def test_secrets_appear_as_paths_and_never_as_values() -> None:
    written = settings.canonical(wiring.worker_settings(knowledge_base(**REMOTE), generation=1))

    assert '"/etc/lectern/secrets/worker/vector-store-api-key"' in written
    assert '"/etc/lectern/secrets/worker/kafka-password"' in written
    assert '"/etc/lectern/secrets/worker/blob-secret-access-key"' in written


def test_what_a_cluster_needs_and_the_spec_leaves_out_is_named() -> None:
    assert wiring.missing_on_cluster(knowledge_base().spec) == (
        "spec.vectorStore",
        "spec.messaging",
        "spec.blobStore",
        "spec.embedding.server",
    )
    assert wiring.missing_on_cluster(knowledge_base(**REMOTE).spec) == ("spec.embedding.server",)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"partition": {"tenant": "t", "accessLevel": "secret"}}, ("spec.partition.accessLevel 'secret'", "public")),
        (
            {"partitionRules": [{"pathPrefix": "x", "tenant": "t", "accessLevel": "secret"}]},
            ("spec.partitionRules[0].accessLevel 'secret'", "KnowledgeBase/docs"),
        ),
        (
            {"partition": {"tenant": "t", "restrictedAccessLevel": "secret"}},
            ("spec.partition.restrictedAccessLevel 'secret'",),
        ),
        ({"persistentVolume": None, "push": {}}, ("spec.push has a receiver",)),
    ],
)
def test_a_source_that_cannot_work_is_refused(spec: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        wiring.connector_settings(source(**spec), knowledge_base())

    assert [word for word in words if word not in str(caught.value)] == []


def test_an_endpoint_over_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names docs, which does not exist in namespace n"):
        query_wiring.query_settings(endpoint(), {})
