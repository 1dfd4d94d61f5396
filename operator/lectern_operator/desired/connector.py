"""The connector of an IngestionSource: a Job for one asked run, or a CronJob for a schedule.

Called by the reconciler with what `policies.ingestion_source` planned. A run tells what it did in its termination
message; it needs no right in Kubernetes.
"""

from __future__ import annotations

from lectern_contract import labels, names, wiring
from lectern_contract.names import Role
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_operator.desired import config_map, pod, secret_files
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, child_labels, metadata, owner, sealed
from lectern_operator.desired.worker import blob_volume

SOURCE_VOLUME = "source"
RUN_SECONDS = 6 * 3600
"""Longest time for one run with its retries; the next one goes on where it ended."""
RETRIES = 2
HISTORY = 3
LATE_SECONDS = 3600
"""How late a scheduled run may still start. Without a bound, 100 missed ones stop a CronJob for good."""


def manifests(
    source: IngestionSource,
    kb: KnowledgeBase,
    *,
    run: str | None,
    request: str,
    images: Images,
) -> list[Manifest]:
    """Return the children of `source`; `run` is the digest of a run to start, `request` what asked for it."""
    of = owner(source)
    settings = config_map.settings_config_map(of, Role.CONNECTOR, wiring.connector_settings(source, kb))
    body = _job_spec(source, kb, settings, images)
    found = [settings]
    if source.spec.schedule is not None:
        found.append(_cron_job(source, settings, body))
    if run is not None:
        notes = {labels.SYNC_REQUEST: request, labels.SETTINGS: _digest(settings)}
        found.append(
            sealed(
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "metadata": metadata(of, names.one_run(source.name, run), Role.CONNECTOR, notes),
                    "spec": body,
                }
            )
        )
    return found


def settings_digest(source: IngestionSource, kb: KnowledgeBase) -> str:
    """Return the hash of the settings that a run of `source` would have now."""
    settings = config_map.settings_config_map(owner(source), Role.CONNECTOR, wiring.connector_settings(source, kb))
    return _digest(settings)


def _digest(settings: Manifest) -> str:
    digest: str = settings["metadata"]["annotations"][labels.SETTINGS]
    return digest


def _cron_job(source: IngestionSource, settings: Manifest, body: Manifest) -> Manifest:
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
                "suspend": source.spec.suspend,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": LATE_SECONDS,
                "successfulJobsHistoryLimit": HISTORY,
                "failedJobsHistoryLimit": HISTORY,
                "jobTemplate": {"metadata": job_metadata, "spec": body},
            },
        }
    )


def _job_spec(source: IngestionSource, kb: KnowledgeBase, settings: Manifest, images: Images) -> Manifest:
    of = owner(source)
    volume, mount, annotations = config_map.mounted(settings)
    secret_volumes, secret_mounts = secret_files.volumes(
        Role.CONNECTOR, [*secret_files.log(kb), *secret_files.blobs(kb)]
    )
    blob_volumes, blob_mounts = blob_volume(kb)
    source_volumes, source_mounts = _source_volume(source)
    main = pod.container(
        Role.CONNECTOR.value,
        images.connector,
        resources=pod.compute(source.spec.resources),
        mounts=[mount, *secret_mounts, *blob_mounts, *source_mounts],
    )
    return {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": RUN_SECONDS,
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


def _source_volume(source: IngestionSource) -> tuple[list[Manifest], list[Manifest]]:
    if source.spec.persistent_volume is None:
        return [], []
    claim = source.spec.persistent_volume.claim_name
    volume, mount = pod.claim(SOURCE_VOLUME, claim, names.SOURCE_DIRECTORY, read_only=True)
    return [volume], [mount]
