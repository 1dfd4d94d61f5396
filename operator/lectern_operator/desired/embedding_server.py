"""The embedding server of a KnowledgeBase: a TEI Deployment, its Service and, where asked, a claim for the weights.

Called by `desired.knowledge_base` when `spec.embedding.server.managed` is set.
"""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources.common import ManagedServer, ModelCache
from lectern_contract.resources.knowledge_base import Embedding
from lectern_operator.desired import pod
from lectern_operator.desired.deployment import deployment, service
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, Owner, given, metadata, sealed

CACHE_VOLUME = "models"
START_SECONDS = 1800
"""Time for the download and the warm-up of a large model: the port opens only after that."""
DEADLINE_SECONDS = START_SECONDS + 600


def embedding_server(of: Owner, embedding: Embedding, server: ManagedServer, images: Images) -> list[Manifest]:
    """Return the manifests of the server that computes `embedding`."""
    accelerator = server.accelerator
    devices = {accelerator.resource_name: str(accelerator.count)} if accelerator else {}
    volume, claim = _cache(of, server.model_cache)
    main = pod.container(
        Role.EMBEDDER.value,
        server.image or images.embedding_server(accelerated=accelerator is not None),
        resources=pod.compute(server.resources, devices),
        mounts=[{"name": CACHE_VOLUME, "mountPath": names.MODEL_CACHE_DIRECTORY}],
        port=names.EMBEDDER_PORT,
        environment=_environment(),
        args=["--model-id", embedding.model, "--revision", embedding.revision, *server.args],
        probes={
            "startupProbe": pod.http_probe("/health", period_seconds=10, failures=START_SECONDS // 10),
            "livenessProbe": pod.http_probe("/health", period_seconds=10, failures=6),
            "readinessProbe": pod.http_probe("/health", period_seconds=5, failures=2),
        },
    )
    template = pod.template(of, Role.EMBEDDER, main, volumes=[volume], placement=server)
    held = accelerator is not None or server.model_cache is not None
    return [
        *claim,
        service(of, Role.EMBEDDER, names.EMBEDDER_PORT),
        deployment(
            of,
            Role.EMBEDDER,
            template,
            replicas=server.replicas,
            surge=not held,
            deadline_seconds=DEADLINE_SECONDS,
        ),
    ]


def _environment() -> dict[str, str]:
    """Say what the image's own defaults say otherwise.

    The image listens on port 80, which a non-root process may not. Silent truncation would lose the end of a
    chunk; as a variable it is understood by releases in which it is a flag and by those in which it takes a value.
    """
    return {
        "AUTO_TRUNCATE": "false",
        "HF_HOME": names.MODEL_CACHE_DIRECTORY,
        "HUGGINGFACE_HUB_CACHE": names.MODEL_CACHE_DIRECTORY,
        "PORT": str(names.EMBEDDER_PORT),
    }


def _cache(of: Owner, cache: ModelCache | None) -> tuple[Manifest, list[Manifest]]:
    """Return the volume for the weights and the claim that has to be made for it."""
    if cache is None:
        return {"name": CACHE_VOLUME, "emptyDir": {"sizeLimit": ModelCache().size}}, []
    own = names.child(of.name, Role.EMBEDDER)
    volume = {"name": CACHE_VOLUME, "persistentVolumeClaim": {"claimName": cache.claim_name or own}}
    if cache.claim_name is not None:
        return volume, []
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(of, own, Role.EMBEDDER),
        "spec": given(
            accessModes=["ReadWriteOnce"],
            resources={"requests": {"storage": cache.size}},
            storageClassName=cache.storage_class_name,
        ),
    }
    return volume, [sealed(claim)]
