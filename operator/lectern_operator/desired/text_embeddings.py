"""A server of Text Embeddings Inference: its Deployment, its Service and, where asked, a claim for the weights.

Called for the embedder of a KnowledgeBase and for the reranker of a RagEndpoint: which of the two it is, TEI reads from
the model itself. It needs no key: only who is let in by the network policy reaches it. A token of the hub it would take
as a variable or an argument only, which shows in the pod; weights that are not public come by `modelCache.offline`.
"""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources.common import ManagedServer
from lectern_operator.desired import model_cache, pod
from lectern_operator.desired.deployment import deployment, service
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, Owner

LEAST = {"cpu": "1", "memory": "2Gi"}
"""Asked for where the resource says nothing: enough for an encoder of some hundred million parameters."""
BYTES_PER_TOKEN = 16
"""Room in a request for each token: most are shorter, with JSON's escapes."""
LEAST_PAYLOAD_BYTES = 2_000_000
LEAST_BATCH_TOKENS = 16_384
"""The server's own bounds of a request and of what it computes at once."""


def text_embeddings(
    of: Owner,
    role: Role,
    model: str,
    revision: str,
    server: ManagedServer,
    images: Images,
    *,
    longest_input: int,
    inputs: int = 64,
) -> list[Manifest]:
    """Return the manifests of the server of `model`, which takes `inputs` of `longest_input` tokens a request."""
    accelerator = server.accelerator
    devices = {accelerator.resource_name: str(accelerator.count)} if accelerator else {}
    volume, claim = model_cache.model_cache(of, role, server.model_cache)
    start = model_cache.start_seconds(server)
    main = pod.container(
        role.value,
        server.image or images.text_embeddings_for(accelerator),
        resources=pod.compute(server.resources, devices, least=LEAST),
        mounts=[{"name": model_cache.VOLUME, "mountPath": names.MODEL_CACHE_DIRECTORY}],
        port=names.EMBEDDER_PORT,
        environment=_environment(server, longest_input=longest_input, inputs=inputs),
        args=["--model-id", model, "--revision", revision, *server.args],
        probes={
            "startupProbe": pod.http_probe("/health", period_seconds=10, failures=-(-start // 10)),
            "livenessProbe": pod.http_probe("/health", period_seconds=10, failures=6),
            "readinessProbe": pod.http_probe("/health", period_seconds=5, failures=2),
        },
    )
    template = pod.template(of, role, main, volumes=[volume], placement=server)
    return [
        *claim,
        service(of, role, names.EMBEDDER_PORT),
        deployment(
            of,
            role,
            template,
            replicas=server.replicas,
            surge=accelerator is None and server.model_cache is None,
            deadline_seconds=start + 600,
        ),
    ]


def _environment(server: ManagedServer, *, longest_input: int, inputs: int) -> dict[str, str]:
    """Say what the image's own defaults say otherwise; an argument of the user's wins over a variable.

    The image listens on port 80, which a non-root process may not. Silent truncation would lose the end of a
    chunk; as a variable it is understood by releases in which it is a flag and by those in which it takes a value.
    Without it the server starts only where the longest input of the model fits into one batch.
    """
    return {
        **model_cache.hub_environment(server),
        "AUTO_TRUNCATE": "false",
        "HUGGINGFACE_HUB_CACHE": names.MODEL_CACHE_DIRECTORY,
        "MAX_BATCH_TOKENS": str(max(LEAST_BATCH_TOKENS, longest_input)),
        "MAX_CLIENT_BATCH_SIZE": str(inputs),
        "PAYLOAD_LIMIT": str(max(LEAST_PAYLOAD_BYTES, inputs * longest_input * BYTES_PER_TOKEN)),
        "PORT": str(names.EMBEDDER_PORT),
    }
