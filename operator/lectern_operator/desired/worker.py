"""The embedding workers of a KnowledgeBase: a Deployment with its settings file, secrets and blobs.

Called by `desired.knowledge_base`; the number of workers is decided by `policies` or by KEDA.
"""

from __future__ import annotations

from lectern_contract import names, wiring
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase
from lectern_operator.desired import config_map, flows, network_policy, pod, secret_files
from lectern_operator.desired.deployment import deployment, service
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner
from lectern_operator.desired.network_policy import Peer
from lectern_operator.desired.service_account import service_account
from lectern_operator.desired.service_monitor import service_monitor

GRACE_SECONDS = 60
"""Time to finish the documents in hand and to commit."""
BLOB_VOLUME = "blobs"


def worker(
    kb: KnowledgeBase, *, generation: int, replicas: int | None, monitored: bool, images: Images
) -> list[Manifest]:
    """Return the manifests of the workers that fill index generation `generation`.

    `monitored` adds what Prometheus finds their metrics by.
    """
    of = owner(kb)
    settings = config_map.settings_config_map(of, Role.WORKER, wiring.worker_settings(kb, generation=generation))
    found = [service_account(of, Role.WORKER, pull_secrets=images.pull_secrets), settings]
    if kb.spec.network_policy.enabled:
        ingress = [network_policy.operator(images), *([network_policy.prometheus(images)] if monitored else [])]
        found.append(
            network_policy.network_policy(
                of, Role.WORKER, port=names.RUNTIME_PORT, ingress=ingress, egress=_reached(kb)
            )
        )
    found.append(deployment(of, Role.WORKER, _template(kb, settings, images), replicas=replicas))
    if monitored:
        found.append(service(of, Role.WORKER, names.RUNTIME_PORT, headless=True))
        found.append(service_monitor(of, Role.WORKER, extra_labels=images.monitor_labels))
    return found


def _reached(kb: KnowledgeBase) -> list[Peer]:
    """Return whom the workers speak to: name servers, broker, blobs, embedding server, vector store, collector."""
    searched = [*flows.embedder(kb), *flows.vector_store(kb), *flows.collector(kb)]
    return [network_policy.dns(), *flows.log(kb), *flows.blobs(kb), *flows.embedding_cache(kb), *searched]


def _template(kb: KnowledgeBase, settings: Manifest, images: Images) -> Manifest:
    volume, mount, annotations = config_map.mounted(settings)
    secrets = [*secret_files.embedder(kb), *secret_files.log(kb), *secret_files.blobs(kb)]
    secrets += [*secret_files.vector_store(kb), *secret_files.embedding_cache(kb)]
    secret_volumes, secret_mounts = secret_files.volumes(Role.WORKER, secrets)
    blob_volumes, blob_mounts = blob_volume(kb)
    main = pod.container(
        Role.WORKER.value,
        images.worker,
        resources=pod.compute(kb.spec.workers.resources),
        mounts=[mount, *secret_mounts, *blob_mounts],
        port=names.RUNTIME_PORT,
        probes=pod.runtime_probes(),
    )
    return pod.template(
        owner(kb),
        Role.WORKER,
        main,
        volumes=[volume, *secret_volumes, *blob_volumes],
        annotations=annotations,
        grace_seconds=GRACE_SECONDS,
    )


def blob_volume(kb: KnowledgeBase) -> tuple[list[Manifest], list[Manifest]]:
    """Return the volume and the mount of a blob store on a PersistentVolumeClaim; nothing for a bucket."""
    store = kb.spec.blob_store
    if store is None or store.persistent_volume is None:
        return [], []
    volume, mount = pod.claim(BLOB_VOLUME, store.persistent_volume.claim_name, names.BLOB_DIRECTORY)
    return [volume], [mount]
