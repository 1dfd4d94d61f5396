"""The receiver of a push source: a Deployment that takes documents from callers, and the Service in front of it.

One replica: it writes what it is given to the log and the blob store, which are the bottleneck, and a second one would
have to agree with the first about what is newer.
"""

from __future__ import annotations

from lectern_contract import labels, names, wiring
from lectern_contract.names import Role
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_operator.desired import config_map, flows, network_policy, pod, secret_files
from lectern_operator.desired.deployment import deployment, service
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner
from lectern_operator.desired.network_policy import Peer
from lectern_operator.desired.service_account import service_account
from lectern_operator.desired.worker import blob_volume

GRACE_SECONDS = 60
"""Time to take the documents that are being sent, and to have them durable."""


def manifests(source: IngestionSource, kb: KnowledgeBase, *, images: Images) -> list[Manifest]:
    """Return the children of `source`; while it is suspended, the Service stays and no pod answers."""
    of = owner(source)
    settings = config_map.settings_config_map(of, Role.RECEIVER, wiring.receiver_settings(source, kb))
    found = [service_account(of, Role.RECEIVER, pull_secrets=images.pull_secrets), settings]
    if kb.spec.network_policy.enabled:
        everybody = Peer(())  # callers and gateways may be anywhere: the receiver itself asks for their key
        reached = [network_policy.dns(), *flows.log(kb), *flows.blobs(kb), *flows.collector(kb)]
        found.append(
            network_policy.network_policy(
                of, Role.RECEIVER, port=names.RUNTIME_PORT, ingress=[everybody], egress=reached
            )
        )
    replicas = 0 if source.spec.suspend else 1
    return [
        *found,
        service(of, Role.RECEIVER, names.RUNTIME_PORT),
        deployment(of, Role.RECEIVER, _template(source, kb, settings, images), replicas=replicas, surge=False),
    ]


def settings_digest(source: IngestionSource, kb: KnowledgeBase) -> str:
    """Return the hash of the settings that the receiver of `source` would have now."""
    content = wiring.receiver_settings(source, kb)
    settings = config_map.settings_config_map(owner(source), Role.RECEIVER, content)
    digest: str = settings["metadata"]["annotations"][labels.SETTINGS]
    return digest


def _template(source: IngestionSource, kb: KnowledgeBase, settings: Manifest, images: Images) -> Manifest:
    volume, mount, annotations = config_map.mounted(settings)
    secrets = [*secret_files.log(kb), *secret_files.blobs(kb)]
    secret_volumes, secret_mounts = secret_files.volumes(Role.RECEIVER, secrets)
    blob_volumes, blob_mounts = blob_volume(kb)
    key_volumes, key_mounts = secret_files.api_keys(source.spec.push.api_keys_secret_ref if source.spec.push else None)
    main = pod.container(
        Role.RECEIVER.value,
        images.connector,
        args=["--serve"],
        resources=pod.compute(source.spec.resources),
        mounts=[mount, *secret_mounts, *blob_mounts, *key_mounts],
        port=names.RUNTIME_PORT,
        probes=pod.runtime_probes(),
    )
    return pod.template(
        owner(source),
        Role.RECEIVER,
        main,
        volumes=[volume, *secret_volumes, *blob_volumes, *key_volumes],
        annotations=annotations,
        grace_seconds=GRACE_SECONDS,
    )
