"""`lectern rewind`: what is read of a cluster, the Job that does the same, a data directory, and every refusal."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lectern_cli import rewind, rewind_cluster
from lectern_cli.main import app
from lectern_cli.rewind_cluster import Body
from lectern_cli_tests.test_manifests import KB, write
from lectern_contract import names, wiring
from lectern_contract.errors import ConfigurationError, DependencyError, LecternError
from lectern_contract.generation import index_identity
from lectern_contract.names import Topic
from lectern_contract.resources import KnowledgeBase, parse
from lectern_contract.settings import KafkaLog
from lectern_runtime import topics
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.errors import LogError
from lectern_runtime.maintain.rewind import Target
from lectern_runtime.ports import CollectionSpec, OutgoingRecord

MESSAGING = {
    "bootstrapServers": "127.0.0.1:1",
    "securityProtocol": "SASL_SSL",
    "saslMechanism": "PLAIN",
    "credentialsSecretRef": {"name": "login"},
    "caSecretRef": {"name": "authorities", "key": "kafka.crt"},
}
OPEN = {"bootstrapServers": "127.0.0.1:1"}
SECRETS = {
    "login": {"username": base64.b64encode(b"worker").decode(), "password": base64.b64encode(b"hunter2").decode()},
    "authorities": {"kafka.crt": base64.b64encode(b"-----BEGIN").decode()},
}


class Cluster:
    """An API server with one knowledge base; a Secret that is an error is raised."""

    def __init__(self, messaging: Mapping[str, Any] | None = None, **secrets: Any) -> None:
        spec = {"embedding": {"model": "a/b", "dimensions": 384}, "messaging": messaging}
        self.body: dict[str, Any] = {
            "apiVersion": "lectern.dev/v1alpha1",
            "kind": "KnowledgeBase",
            "metadata": {"name": "guides", "namespace": "team"},
            "spec": {key: value for key, value in spec.items() if value is not None},
            "status": {"activeGeneration": 3},
        }
        self.secrets = {**SECRETS, **secrets}

    def knowledge_base(self, namespace: str, name: str) -> Body:
        """Return the only one."""
        if (namespace, name) != ("team", "guides"):
            raise ConfigurationError(
                f"there is no KnowledgeBase {name} in namespace {namespace}; see kubectl get kb -A"
            )
        return self.body

    def secret(self, _namespace: str, name: str) -> Mapping[str, str]:
        """Return the data of a Secret."""
        found = self.secrets[name]
        if isinstance(found, Exception):
            raise found
        data: Mapping[str, str] = found
        return data

    def workers(self, _namespace: str, knowledge_base: str) -> Body:
        """Return a Deployment as the operator makes them."""
        assert knowledge_base == "guides"
        return copy.deepcopy(DEPLOYMENT)


DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "guides-worker", "namespace": "team"},
    "spec": {
        "replicas": 0,
        "template": {
            "metadata": {"labels": {"lectern.dev/role": "worker"}, "annotations": {"lectern.dev/settings": "abc"}},
            "spec": {
                "serviceAccountName": "guides-worker",
                "restartPolicy": "Always",
                "topologySpreadConstraints": [{"maxSkew": 1}],
                "containers": [
                    {
                        "name": "worker",
                        "image": "lectern/worker:1",
                        "ports": [{"containerPort": 8080}],
                        "livenessProbe": {"httpGet": {"path": "/healthz"}},
                        "volumeMounts": [{"name": "secrets", "mountPath": "/etc/lectern/secrets/worker"}],
                    }
                ],
                "volumes": [{"name": "secrets"}],
            },
        },
    },
}


def wanted(**changes: Any) -> rewind.Wanted:
    given = {"knowledge_base": "guides", "target": Target(), "partitions": (), "generation": None, "dry_run": True}
    return rewind.Wanted(**{**given, **changes})


def on_cluster(cluster: Cluster, namespace: str = "team", **changes: Any) -> tuple[bool, str]:
    said: list[str] = []
    done = asyncio.run(rewind.on_cluster(cluster, namespace, wanted(**changes), agree=lambda _: False, say=said.append))
    return done, "".join(said)


# ------------------------------------------------------------------------------------------- cluster


def test_secrets_of_the_brokers_are_files_for_the_time_of_the_command_only() -> None:
    cluster = Cluster(MESSAGING)
    with rewind_cluster.log_settings(cluster, rewind_cluster.read(cluster, "team", "guides")) as settings:
        assert settings.username_file is not None
        directory = Path(settings.username_file).parent
        assert settings == KafkaLog(
            bootstrap_servers="127.0.0.1:1",
            security_protocol="SASL_SSL",
            sasl_mechanism="PLAIN",
            username_file=str(directory / "username_file"),
            password_file=str(directory / "password_file"),
            ca_file=str(directory / "ca_file"),
        )
        assert {each.name: each.read_bytes() for each in directory.iterdir()} == {
            "username_file": b"worker",
            "password_file": b"hunter2",
            "ca_file": b"-----BEGIN",
        }
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert {stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir()} == {0o600}
    assert not directory.exists()


FORBIDDEN = DependencyError("the API server answers 403 Forbidden", dependency="kubernetes")


@pytest.mark.parametrize(
    ("cluster", "changes", "kind", "words"),
    [
        (
            Cluster(OPEN),
            {"knowledge_base": "guide"},
            ConfigurationError,
            "there is no KnowledgeBase guide in namespace team; see kubectl get kb -A",
        ),
        (
            Cluster(),
            {},
            ConfigurationError,
            "KnowledgeBase/guides has no spec.messaging, so that no broker has a group of it; for one that "
            "`lectern up` runs, name its resources with -f and its --data-dir",
        ),
        (
            Cluster(MESSAGING, login=FORBIDDEN),
            {},
            DependencyError,
            "Secret login of KnowledgeBase/guides cannot be read: the API server answers 403 Forbidden; ask for the "
            "right to read it, or let a Job do it: --as-job",
        ),
        (
            Cluster(MESSAGING, login={"username": "d29ya2Vy"}),
            {},
            ConfigurationError,
            "Secret login has no key password, which spec.messaging of KnowledgeBase/guides names; add it",
        ),
        (
            Cluster(OPEN),
            {},
            LogError,
            "127.0.0.1:1 cannot be reached (Connect call failed ('127.0.0.1', 1)): check that the brokers run. Where "
            "this machine does not reach the brokers, a Job can: --as-job",
        ),
    ],
)
def test_what_does_not_work_on_a_cluster_is_one_sentence(
    cluster: Cluster, changes: dict[str, Any], kind: type[LecternError], words: str
) -> None:
    with pytest.raises(kind) as refused:
        on_cluster(cluster, **changes)
    assert str(refused.value) == words


def test_without_an_active_generation_one_has_to_be_named() -> None:
    cluster = Cluster(OPEN)
    del cluster.body["status"]
    with pytest.raises(ConfigurationError, match=r"has no status\.activeGeneration.*name the generation with"):
        on_cluster(cluster)
    with pytest.raises(LogError, match="cannot be reached"):
        on_cluster(cluster, generation=1)


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({"dry_run": True}, ["rewind", "--to-start", "--generation=3", "--dry-run"]),
        ({"dry_run": False, "target": Target(by=9)}, ["rewind", "--by-messages=9", "--generation=3", "--yes"]),
        (
            {"dry_run": False, "partitions": (0, 2), "generation": 2, "target": Target(since=0.25)},
            [
                "rewind",
                "--to-time=1970-01-01T00:00:00.250Z",
                "--partition=0",
                "--partition=2",
                "--generation=2",
                "--yes",
            ],
        ),
    ],
)
def test_a_job_rewinds_with_all_that_a_worker_has(changes: dict[str, Any], arguments: list[str]) -> None:
    assert json.loads(rewind.manifest(Cluster(MESSAGING), "team", wanted(**changes))) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "guides-rewind-", "namespace": "team"},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 3600,
            "template": {
                "metadata": {
                    "labels": {"lectern.dev/role": "worker"},
                    "annotations": {"lectern.dev/settings": "abc"},
                },
                "spec": {
                    "serviceAccountName": "guides-worker",
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "worker",
                            "image": "lectern/worker:1",
                            "command": ["python", "-m", "lectern_runtime.maintain"],
                            "args": arguments,
                            "volumeMounts": [{"name": "secrets", "mountPath": "/etc/lectern/secrets/worker"}],
                        }
                    ],
                    "volumes": [{"name": "secrets"}],
                },
            },
        },
    }


# ----------------------------------------------------------------------------------- data directory


@pytest.fixture
def laid(tmp_path: Path) -> list[str]:
    """Options for a data directory whose group 3 has read the only message."""
    (tmp_path / "resources").mkdir()
    file = write(tmp_path / "resources", kb=KB)
    kb = parse(yaml.safe_load(KB))
    assert isinstance(kb, KnowledgeBase)

    async def lay() -> None:
        with DataDirectory.open(tmp_path / "data", created_by="test") as data:
            log = await SqliteLog.open(data.log_path)
            settings = wiring.worker_settings(kb, generation=3)
            await topics.ensure(log, settings.log, namespace=kb.namespace, knowledge_base=kb.name)
            documents = names.topic(kb.namespace, kb.name, Topic.DOCUMENTS)
            consumer = await log.subscribe(documents, group=names.consumer_group(kb.namespace, kb.name, 3))
            (place,) = await log.publish(documents, [OutgoingRecord("a", b"1")])
            await consumer.commit({place.partition: place.offset + 1})
            await log.close()
            store = await EdgeStore.open(data.store_path)
            collection = names.collection(kb.namespace, kb.name, 3)
            await store.ensure_collection(CollectionSpec(collection, 384, True, index_identity(kb.spec)))
            await store.point_alias(names.alias(kb.namespace, kb.name), collection)
            await store.close()

    asyncio.run(lay())
    return ["-f", str(file), "--data-dir", str(tmp_path / "data")]


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["rewind", *arguments])
    return done.exit_code, done.stdout, done.stderr


HEAD = "group lectern.default.guides.g3 on topic lectern.default.guides.documents\n"


def test_the_group_of_a_data_directory_goes_back_once(laid: list[str]) -> None:
    plan = f"{HEAD}partition 0: committed 1, new 0, at most 1 message again\n"
    summary = "1 of 1 partitions, at most 1 message again\n"
    assert run("guides", "--to-start", "--dry-run", *laid) == (0, f"{plan}dry run, nothing was written: {summary}", "")
    assert run("guides", "--to-start", "--yes", *laid) == (0, f"{plan}rewound: {summary}", "")
    again = f"{HEAD}partition 0: committed 0, stays: it is there already\nnothing to rewind\n"
    assert run("guides", "--by-messages", "3", "--yes", *laid) == (0, again, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["guides", "--to-start"],
            "lectern: rewind asks before it writes, and there is no terminal: say --yes, or --dry-run\n",
        ),
        (
            ["guides", "--yes"],
            "lectern: say how far back with one of --to-start, --to-time MOMENT and --by-messages N\n",
        ),
        (
            ["other", "--to-start", "--yes"],
            "lectern: KNOWLEDGE_BASE: name one of those in the resources (guides)\n",
        ),
        (
            ["guides", "--to-start", "--yes", "--partition", "99"],
            "lectern: --partition 99: topic lectern.default.guides.documents has the partitions 0 to 0; name one "
            "of these\n",
        ),
        (
            ["guides", "--to-time", "noon", "--yes"],
            "lectern: --to-time noon: no moment; write it like 2026-11-21T08:00:00Z\n",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(laid: list[str], arguments: list[str], words: str) -> None:
    assert run(*arguments, *laid) == (2, "", words)


def test_a_directory_in_use_is_left_alone(laid: list[str]) -> None:
    with DataDirectory.open(Path(laid[3]), created_by="test"):
        status, out, err = run("guides", "--to-start", "--yes", *laid)
    assert (status, out, "in use" in err) == (2, "", True)


def test_a_cluster_and_a_directory_at_once_are_refused(laid: list[str]) -> None:
    status, out, err = run("guides", "--to-start", "-n", "team", *laid)
    assert (status, out, "choose one" in err) == (2, "", True)


def test_without_a_cluster_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    status, _, err = run("guides", "--to-start", "--dry-run")
    assert status == 2
    assert err.startswith("lectern: no cluster is known (")
    assert err.endswith("; set KUBECONFIG\n")
