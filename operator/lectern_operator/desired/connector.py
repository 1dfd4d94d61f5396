"""The connector of an IngestionSource: a Job for one asked run, or a CronJob for a schedule.

Called by the reconciler with what `policies.ingestion_source` planned. A run tells what it did in its termination
message; it needs no right in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lectern_contract import labels, names, wiring
from lectern_contract.names import Role
from lectern_contract.reports import RunMode
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_operator.desired import config_map, flows, network_policy, pod, secret_files
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, child_labels, metadata, owner, sealed
from lectern_operator.desired.network_policy import Peer
from lectern_operator.desired.secret_files import SecretFile
from lectern_operator.desired.service_account import service_account
from lectern_operator.desired.worker import blob_volume

SOURCE_VOLUME = "source"
CREDENTIALS_VOLUME = "source-credentials"
RUN_SECONDS = 6 * 3600
"""Longest time for one run with its retries; the next one goes on where it ended."""
RETRIES = 2
WRONG_SETTINGS = 2
"""Exit status of a connector whose settings cannot work: another try with the same ones would end the same way."""
HISTORY = 3
ENDED_SECONDS = 7 * 24 * 3600
"""How long a Job that was asked for stays after its end, where no operator is left that tidies up."""
LATE_SECONDS = 3600
"""How late a scheduled run may still start. Without a bound, 100 missed ones stop a CronJob for good."""


@dataclass(frozen=True, slots=True)
class AskedRun:
    """A run to start: `digest` names its Job, `notes` are the annotations by which it is known what it answers."""

    digest: str
    mode: RunMode = RunMode.SYNC
    notes: Mapping[str, str] = field(default_factory=dict)


def manifests(
    source: IngestionSource,
    kb: KnowledgeBase,
    *,
    run: AskedRun | None,
    held: bool = False,
    images: Images,
) -> list[Manifest]:
    """Return the children of `source`; `held` lets its schedule stand still, because an asked run goes on."""
    of = owner(source)
    settings = config_map.settings_config_map(of, Role.CONNECTOR, wiring.connector_settings(source, kb))
    found = [service_account(of, Role.CONNECTOR, pull_secrets=images.pull_secrets), settings]
    if kb.spec.network_policy.enabled:
        found.append(
            network_policy.network_policy(of, Role.CONNECTOR, port=None, ingress=(), egress=_reached(source, kb))
        )
    if source.spec.schedule is not None:
        found.append(_cron_job(source, settings, _job_spec(source, kb, settings, RunMode.SYNC, images), held=held))
    if run is not None:
        notes = {labels.SETTINGS: _digest(settings), labels.RUN_MODE: run.mode.value, **run.notes}
        spec = _job_spec(source, kb, settings, run.mode, images) | {"ttlSecondsAfterFinished": ENDED_SECONDS}
        about = metadata(of, names.one_run(source.name, run.digest), Role.CONNECTOR, notes)
        found.append(sealed({"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": spec}))
    return found


def settings_digest(source: IngestionSource, kb: KnowledgeBase) -> str:
    """Return the hash of the settings that a run of `source` would have now."""
    settings = config_map.settings_config_map(owner(source), Role.CONNECTOR, wiring.connector_settings(source, kb))
    return _digest(settings)


def _digest(settings: Manifest) -> str:
    digest: str = settings["metadata"]["annotations"][labels.SETTINGS]
    return digest


def _reached(source: IngestionSource, kb: KnowledgeBase) -> list[Peer]:
    """Return whom a connector speaks to: name servers, broker, blob store, the source and the collector of spans.

    A volume is no flow.
    """
    return [network_policy.dns(), *flows.log(kb), *flows.blobs(kb), *flows.source(source), *flows.collector(kb)]


def _secrets(source: IngestionSource, kb: KnowledgeBase) -> list[SecretFile]:
    return [*secret_files.log(kb), *secret_files.blobs(kb), *secret_files.source(source)]


def _cron_job(source: IngestionSource, settings: Manifest, body: Manifest, *, held: bool) -> Manifest:
    of = owner(source)
    job_metadata = {
        "labels": child_labels(of, Role.CONNECTOR),
        "annotations": {labels.SETTINGS: _digest(settings)},
    }
    return sealed(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": metadata(of, names.child(source.name, Role.CONNECTOR), Role.CONNECTOR),
            "spec": {
                "schedule": source.spec.schedule,
                "timeZone": source.spec.time_zone,
                "suspend": source.spec.suspend or held,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": LATE_SECONDS,
                "successfulJobsHistoryLimit": HISTORY,
                "failedJobsHistoryLimit": HISTORY,
                "jobTemplate": {"metadata": job_metadata, "spec": body},
            },
        }
    )


def _job_spec(
    source: IngestionSource, kb: KnowledgeBase, settings: Manifest, mode: RunMode, images: Images
) -> Manifest:
    of = owner(source)
    volume, mount, annotations = config_map.mounted(settings)
    secret_volumes, secret_mounts = secret_files.volumes(Role.CONNECTOR, _secrets(source, kb))
    blob_volumes, blob_mounts = blob_volume(kb)
    source_volumes, source_mounts = _source_volumes(source)
    main = pod.container(
        Role.CONNECTOR.value,
        images.connector,
        resources=pod.compute(source.spec.resources),
        mounts=[mount, *secret_mounts, *blob_mounts, *source_mounts],
        args=["--mode", mode.lower()],
    )
    return {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": RUN_SECONDS,
        "podFailurePolicy": _on_failure(),
        "template": pod.template(
            of,
            Role.CONNECTOR,
            main,
            volumes=[volume, *secret_volumes, *blob_volumes, *source_volumes],
            annotations=annotations,
            # each attempt is a pod of its own, so that its termination message is kept
            restart="Never",
        ),
    }


def _on_failure() -> Manifest:
    """Say which ends of a pod count: a node that goes away is nobody's fault, wrong settings stay wrong.

    The status of the condition is written out, because it is what the API server would add.
    """
    wrong = {"containerName": Role.CONNECTOR.value, "operator": "In", "values": [WRONG_SETTINGS]}
    return {
        "rules": [
            {"action": "FailJob", "onExitCodes": wrong},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        ]
    }


def _source_volumes(source: IngestionSource) -> tuple[list[Manifest], list[Manifest]]:
    """Return the volume of files to read, or the Secret whose owner chooses its keys."""
    git = source.spec.git
    if git is not None and git.credentials_secret_ref is not None:
        sources = [{"secret": {"name": git.credentials_secret_ref.name}}]
        projected = {"defaultMode": secret_files.MODE, "sources": sources}
        mount = {"name": CREDENTIALS_VOLUME, "mountPath": names.SOURCE_CREDENTIALS_DIRECTORY, "readOnly": True}
        return [{"name": CREDENTIALS_VOLUME, "projected": projected}], [mount]
    if source.spec.persistent_volume is None:
        return [], []
    claim = source.spec.persistent_volume.claim_name
    volume, mount = pod.claim(SOURCE_VOLUME, claim, names.SOURCE_DIRECTORY, read_only=True)
    return [volume], [mount]
