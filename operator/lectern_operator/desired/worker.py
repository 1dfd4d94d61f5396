"""The embedding workers of a KnowledgeBase: a Deployment with its settings file, secrets and blobs.

Called by `desired.knowledge_base`; the number of workers is decided by `policies` or by KEDA.
"""

from __future__ import annotations

from lectern_contract import names, wiring
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase
from lectern_operator.desired import config_map, pod, secret_files
from lectern_operator.desired.deployment import deployment
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner

GRACE_SECONDS = 60
"""Time to finish the documents in hand and to commit."""
BLOB_VOLUME = "blobs"


def worker(kb: KnowledgeBase, *, generation: int, replicas: int | None, images: Images) -> list[Manifest]:
    """Return the manifests of the workers that fill index generation `generation`."""
    of = owner(kb)
    settings = config_map.settings_config_map(of, Role.WORKER, wiring.worker_settings(kb, generation=generation))
    volume, mount, annotations = config_map.mounted(settings)
    secrets = [*secret_files.embedder(kb), *secret_files.log(kb), *secret_files.blobs(kb)]
    secret_volumes, secret_mounts = secret_files.volumes(Role.WORKER, [*secrets, *secret_files.vector_store(kb)])
    blob_volumes, blob_mounts = blob_volume(kb)
    main = pod.container(
        Role.WORKER.value,
        images.worker,
        resources=pod.compute(kb.spec.workers.resources),
        mounts=[mount, *secret_mounts, *blob_mounts],
        port=names.RUNTIME_PORT,
        probes=pod.runtime_probes(),
    )
    template = pod.template(
        of,
        Role.WORKER,
        main,
        volumes=[volume, *secret_volumes, *blob_volumes],
        annotations=annotations,
        grace_seconds=GRACE_SECONDS,
    )
    return [settings, deployment(of, Role.WORKER, template, replicas=replicas)]


def blob_volume(kb: KnowledgeBase) -> tuple[list[Manifest], list[Manifest]]:
    """Return the volume and the mount of a blob store on a PersistentVolumeClaim; nothing for a bucket."""
    store = kb.spec.blob_store
    if store is None or store.persistent_volume is None:
        return [], []
    volume, mount = pod.claim(BLOB_VOLUME, store.persistent_volume.claim_name, names.BLOB_DIRECTORY)
    return [volume], [mount]
