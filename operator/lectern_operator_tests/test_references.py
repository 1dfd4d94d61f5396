"""What a resource names, and what the status says of it."""

from __future__ import annotations

from lectern_contract.conditions import Verdict
from lectern_contract.references import Reference, references
from lectern_contract.resources import KnowledgeBase, parse
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.facts import Known, Unknown
from lectern_operator.facts.outside import Content, Denied
from lectern_operator.policies import references as policy
from lectern_operator_tests import worlds

PASSWORD = Reference("Secret", "team", "kafka", ("username", "password"), "spec.messaging.credentialsSecretRef")


def test_every_reference_of_the_full_sample_is_found_with_its_keys_and_field() -> None:
    engineering = next(each for each in worlds.samples("full") if each["metadata"]["name"] == "engineering")
    found = {each.field: (each.kind, each.name, each.keys) for each in references(parse(engineering))}
    assert found == {
        "spec.backup.destination.caSecretRef": ("Secret", "s3-ca", ("ca.crt",)),
        "spec.backup.destination.credentialsSecretRef": ("Secret", "s3-lectern", ("accessKeyId", "secretAccessKey")),
        "spec.blobStore.s3.caSecretRef": ("Secret", "s3-ca", ("ca.crt",)),
        "spec.blobStore.s3.credentialsSecretRef": ("Secret", "s3-lectern", ("accessKeyId", "secretAccessKey")),
        "spec.generations.gate.goldenSetConfigMapRef": ("ConfigMap", "engineering-golden-set", ("questions.jsonl",)),
        "spec.messaging.caSecretRef": ("Secret", "kafka-ca", ("ca.crt",)),
        "spec.messaging.credentialsSecretRef": ("Secret", "kafka-lectern", ("username", "password")),
        "spec.embedding.cache.redis.caSecretRef": ("Secret", "redis-ca", ("ca.crt",)),
        "spec.embedding.cache.redis.credentialsSecretRef": ("Secret", "redis-lectern", ("username", "password")),
        "spec.restoreFrom.source.caSecretRef": ("Secret", "s3-ca", ("ca.crt",)),
        "spec.restoreFrom.source.credentialsSecretRef": ("Secret", "s3-lectern", ("accessKeyId", "secretAccessKey")),
        "spec.vectorStore.apiKeySecretRef": ("Secret", "qdrant", ("api-key",)),
        "spec.vectorStore.caSecretRef": ("Secret", "qdrant", ("ca.crt",)),
    }


def test_an_endpoint_needs_in_its_own_namespace_what_its_knowledge_bases_mount() -> None:
    kb = worlds.knowledge_base(vectorStore__apiKeySecretRef={"name": "qdrant", "key": "key"})
    assert isinstance(kb, KnowledgeBase)
    found = references(worlds.endpoint(), {"docs": kb})
    assert found == [
        Reference("Secret", "team", "qdrant", ("key",), "KnowledgeBase/docs spec.vectorStore.apiKeySecretRef")
    ]


def test_a_missing_secret_is_named_with_its_field() -> None:
    assert policy.verdict([PASSWORD], {("Secret", "kafka"): Known(None)}) == Verdict(
        ConditionType.REFERENCES_FOUND,
        "False",
        Reason.SECRET_MISSING,
        "Secret kafka does not exist (spec.messaging.credentialsSecretRef): create what is missing in the resource's "
        "namespace",
    )


def test_a_missing_and_an_empty_key_are_named() -> None:
    lacking = policy.verdict([PASSWORD], {("Secret", "kafka"): Known(Content({"username": b"me"}))})
    assert lacking.message.startswith("Secret kafka has no key password (spec.messaging.credentialsSecretRef)")
    empty = policy.verdict([PASSWORD], {("Secret", "kafka"): Known(Content({"username": b"me", "password": b"\n"}))})
    assert empty.message.startswith("key password of Secret kafka is empty (spec.messaging.credentialsSecretRef)")


def test_a_missing_config_map_has_a_reason_of_its_own() -> None:
    prompt = Reference("ConfigMap", "team", "prompt", ("text",), "spec.generation.promptConfigMapRef")
    assert policy.verdict([prompt], {("ConfigMap", "prompt"): Known(None)}).reason is Reason.CONFIG_MAP_MISSING


def test_what_may_not_be_read_is_unknown_and_says_what_to_grant() -> None:
    found = policy.verdict([PASSWORD], {("Secret", "kafka"): Denied("secrets is forbidden")})
    assert (found.status, found.reason) == ("Unknown", Reason.ACCESS_DENIED)
    assert "rbac.secretNamespaces" in found.message


def test_what_could_not_be_read_is_neither_missing_nor_there() -> None:
    found = policy.verdict([PASSWORD], {("Secret", "kafka"): Unknown("no answer")})
    assert (found.status, found.reason, found.message) == ("Unknown", Reason.UNKNOWN, "no answer")


def test_everything_there_is_true() -> None:
    content = Content({"username": b"me", "password": b"secret"})
    found = policy.verdict([PASSWORD], {("Secret", "kafka"): Known(content)})
    assert (found.status, found.reason) == ("True", Reason.REFERENCES_EXIST)
    assert "secret" not in repr(content)
