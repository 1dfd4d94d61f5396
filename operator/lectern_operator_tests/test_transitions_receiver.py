"""Push sources: a receiver instead of runs; given this world, one pass, that world, and a second writes nothing."""

from __future__ import annotations

from typing import Any

from lectern_contract import labels, names, settings
from lectern_contract.names import Role
from lectern_contract.resources.reasons import CONDITIONS
from lectern_operator.facts import Known
from lectern_operator.facts.outside import Loaded
from lectern_operator_tests import worlds
from lectern_operator_tests.fake_cluster import FakeCluster
from lectern_operator_tests.passes import Operator, children
from lectern_operator_tests.passes import names as named

KIND = "IngestionSource"
PUSHED = worlds.changed(worlds.SOURCE, persistentVolume=None, push={"apiKeysSecretRef": {"name": "keys"}})
KEYS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "keys", "namespace": "team"},
    "data": {"caller": "aGFzaA=="},
}
RECEIVER = ("Deployment", "team", "guides-receiver")


def operator(document: dict[str, Any] = PUSHED, **knowledge_base: Any) -> Operator:
    cluster = FakeCluster()
    cluster.put(worlds.changed(worlds.KNOWLEDGE_BASE, **knowledge_base))
    cluster.put(document)
    cluster.put(KEYS)
    return Operator(cluster)


def of_source(source: Operator) -> list[str]:
    return [name for name in children(source.cluster) if "/guides" in name]


async def test_a_push_source_is_a_deployment_with_a_service_and_no_run() -> None:
    source = operator()
    await source.settle()
    (config_map,) = [name for name in named(source.cluster, "ConfigMap") if name.startswith("guides")]
    assert of_source(source) == [
        f"ConfigMap/{config_map}",
        "Deployment/guides-receiver",
        "NetworkPolicy/guides-receiver",
        "Service/guides-receiver",
        "ServiceAccount/guides-receiver",
    ]
    assert source.status(KIND, "guides")["url"] == "http://guides-receiver.team.svc:8080"
    assert tuple(source.judged(KIND, "guides")) == CONDITIONS[KIND]
    assert source.judged(KIND, "guides")["Synced"] == ("True", "NotNeeded")
    assert source.judged(KIND, "guides")["Ready"] == ("Unknown", "Progressing")
    source.cluster.roll_out_all()
    await source.settle()
    assert source.judged(KIND, "guides")["ReceiverReady"] == ("True", "DeploymentAvailable")
    assert source.judged(KIND, "guides")["Ready"] == ("True", "AllComponentsReady")
    assert source.status(KIND, "guides")["components"] == [
        {"name": "guides-receiver", "kind": "Deployment", "ready": True, "message": ""}
    ]


async def test_every_field_of_a_push_source_is_acted_on() -> None:
    source = operator()
    await source.settle()
    assert source.judged(KIND, "guides")["SpecHonored"] == ("True", "AsSpecified")


async def test_the_receiver_has_its_settings_its_keys_and_no_token() -> None:
    source = operator()
    await source.settle()
    pod = source.cluster.objects[RECEIVER]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts[names.API_KEYS_DIRECTORY] == "api-keys"
    keys = {"defaultMode": 0o440, "sources": [{"secret": {"name": "keys"}}]}
    assert [volume["projected"] for volume in pod["volumes"] if volume["name"] == "api-keys"] == [keys]
    assert pod["automountServiceAccountToken"] is False
    (file,) = [
        body["data"]["settings.json"]
        for (kind, _, name), body in source.cluster.objects.items()
        if kind == "ConfigMap" and name.startswith("guides")
    ]
    loaded = settings.load(file.encode())
    assert isinstance(loaded, settings.ReceiverSettings)
    assert (loaded.name, loaded.api_keys_directory) == ("guides", names.API_KEYS_DIRECTORY)


async def test_without_keys_there_is_no_volume_for_them() -> None:
    source = operator(worlds.changed(worlds.SOURCE, persistentVolume=None, push={}))
    await source.settle()
    pod = source.cluster.objects[RECEIVER]["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["blobs", "settings", "tmp"]


async def test_a_suspended_receiver_has_no_pods_and_comes_back() -> None:
    source = operator()
    await source.settle()
    source.cluster.roll_out_all()
    source.cluster.edit(KIND, "guides", {"spec": {"suspend": True}})
    await source.settle()
    assert source.cluster.objects[RECEIVER]["spec"]["replicas"] == 0
    assert source.judged(KIND, "guides")["ReceiverReady"] == ("True", "Suspended")
    assert source.judged(KIND, "guides")["Ready"] == ("True", "Suspended")
    source.cluster.edit(KIND, "guides", {"spec": {"suspend": False}})
    await source.settle()
    assert source.cluster.objects[RECEIVER]["spec"]["replicas"] == 1
    assert source.judged(KIND, "guides")["ReceiverReady"][0] == "Unknown"


async def test_a_receiver_that_cannot_start_says_why() -> None:
    source = operator()
    await source.settle()
    source.cluster.stick("guides-receiver", "ErrImagePull")
    await source.settle()
    assert source.judged(KIND, "guides")["Ready"] == ("False", "ComponentNotReady")
    assert "cannot be pulled" in source.condition(KIND, "guides", "ReceiverReady")["message"]


async def test_a_missing_secret_is_named_and_its_arrival_mends_it() -> None:
    source = operator()
    source.cluster.remove("Secret", "keys")
    await source.settle()
    source.cluster.roll_out_all()
    await source.settle()
    assert source.judged(KIND, "guides")["Ready"] == ("False", "SecretMissing")
    assert (
        "Secret keys does not exist (spec.push.apiKeysSecretRef)"
        in source.condition(KIND, "guides", "Ready")["message"]
    )
    source.cluster.put(KEYS)
    await source.settle()
    assert source.judged(KIND, "guides")["Ready"] == ("True", "AllComponentsReady")


async def test_the_secrets_of_broker_and_bucket_are_looked_for_too() -> None:
    source = operator(
        messaging__securityProtocol="SASL_SSL",
        messaging__saslMechanism="SCRAM-SHA-512",
        messaging__credentialsSecretRef={"name": "broker"},
    )
    await source.settle()
    assert source.judged(KIND, "guides")["ReferencesFound"] == ("False", "SecretMissing")
    message = source.condition(KIND, "guides", "ReferencesFound")["message"]
    assert "Secret broker does not exist (KnowledgeBase/docs spec.messaging.credentialsSecretRef)" in message


async def test_a_receiver_that_runs_other_settings_or_refuses_them_is_told() -> None:
    source = operator()
    await source.settle()
    source.cluster.roll_out_all()
    source.outside.runtimes.answers["guides-receiver-pod-0"] = Known(Loaded("0" * 64, 1))
    await source.settle()
    assert source.judged(KIND, "guides")["ConfigApplied"] == ("False", "SettingsPending")
    pod = source.cluster.objects["Pod", "team", "guides-receiver-pod-0"]
    ended = {"exitCode": 2, "message": "error: unrecognized arguments: --serve"}
    state = {"name": "receiver", "state": {"waiting": {}}, "lastState": {"terminated": ended}}
    pod["status"] = {"phase": "Running", "containerStatuses": [state]}
    await source.settle()
    assert source.judged(KIND, "guides")["ConfigApplied"] == ("False", "SettingsRefused")
    assert "unrecognized arguments" in source.condition(KIND, "guides", "ConfigApplied")["message"]


async def test_a_schedule_beside_push_is_named_and_the_receiver_runs_on() -> None:
    source = operator()
    await source.settle()
    source.cluster.roll_out_all()
    await source.settle()
    before = of_source(source)
    source.cluster.edit(KIND, "guides", {"spec": {"schedule": "@daily"}})
    await source.settle()
    assert source.judged(KIND, "guides")["Ready"] == ("False", "InvalidSpec")
    assert "spec.schedule has no meaning beside spec.push" in source.condition(KIND, "guides", "Ready")["message"]
    assert of_source(source) == before


async def test_a_request_for_a_run_is_told_to_have_no_effect() -> None:
    source = operator()
    source.cluster.edit(KIND, "guides", {"metadata": {"annotations": {names.REPLAY_REQUESTED: "now"}}})
    await source.settle()
    assert named(source.cluster, "Job") == []
    message = source.condition(KIND, "guides", "Synced")["message"]
    assert f"the annotation {names.REPLAY_REQUESTED} asks for nothing here" in message


async def test_a_source_that_is_fetched_instead_has_runs_and_no_receiver() -> None:
    source = operator()
    await source.settle()
    source.cluster.edit(KIND, "guides", {"spec": {"push": None, "persistentVolume": {"claimName": "guides"}}})
    await source.look()  # its end wakes the operator once more, for the settings that it mounted
    await source.settle()
    assert RECEIVER not in source.cluster.objects
    assert ("Service", "team", "guides-receiver") not in source.cluster.objects
    assert "url" not in source.status(KIND, "guides")
    assert len(named(source.cluster, "Job")) == 1
    assert source.judged(KIND, "guides")["ReceiverReady"] == ("True", "NotNeeded")


async def test_changed_settings_roll_out_and_the_old_file_goes_after_that() -> None:
    source = operator()
    await source.settle()
    source.cluster.roll_out_all()
    await source.settle()
    source.cluster.edit(KIND, "guides", {"spec": {"metadata": {"team": "docs"}}})
    await source.settle()
    mine = [name for name in named(source.cluster, "ConfigMap") if name.startswith("guides")]
    assert len(mine) == 2
    source.cluster.roll_out_all()
    await source.settle()
    assert len([name for name in named(source.cluster, "ConfigMap") if name.startswith("guides")]) == 1


async def test_only_the_policy_of_the_knowledge_base_decides_on_network_policies() -> None:
    source = operator(networkPolicy__enabled=False)
    await source.settle()
    assert "NetworkPolicy/guides-receiver" not in of_source(source)


async def test_connectors_may_speak_to_log_and_blobs_alone_and_nobody_to_them() -> None:
    source = operator(worlds.SOURCE)
    await source.settle()
    policy = source.cluster.objects["NetworkPolicy", "team", "guides-connector"]["spec"]
    assert policy["podSelector"] == {"matchLabels": {labels.OWNER_UID: "uid-isrc", labels.ROLE: Role.CONNECTOR.value}}
    assert "ingress" not in policy
    assert [rule.get("to") for rule in policy["egress"]] == [[{"podSelector": {}}], None]


async def test_the_longest_name_fits() -> None:
    document = {**PUSHED, "metadata": {**PUSHED["metadata"], "name": "n" * 40}}
    source = operator(document)
    await source.settle()
    assert [len(name) for name in named(source.cluster, "Service") if name.startswith("nn")] == [49]
