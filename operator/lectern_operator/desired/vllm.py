"""A vLLM server: its Deployment, its Service and, where asked, a claim for weights and compiled kernels.

Called for the language model of a RagEndpoint (`runner` generate) and for an embedder of a KnowledgeBase that is
computed by vLLM (`runner` pooling). The image runs as its own user 2000 of group 0, and writes nothing outside the
volumes given here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lectern_contract import names
from lectern_contract.names import Role
from lectern_contract.resources.common import ManagedServer
from lectern_operator.desired import model_cache, pod
from lectern_operator.desired.deployment import deployment, service
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, Owner

USER, GROUP = 2000, 0
"""The image's own user: of group 0, to which its directories belong."""
SHARED_MEMORY_GIBIBYTES = 2
"""Shared memory for each device: the processes of a model that is spread over devices talk through it."""
SCRATCH = "100Gi"
"""Room on the node's disk for weights and compiled kernels where no cache is asked for."""
IN_FLIGHT = 512
"""Requests, running and waiting, that one server takes; more are refused with 503 instead of waiting without end."""
LEAST = {"cpu": "2", "memory": "16Gi"}
"""Asked for where the resource says nothing: weights of a model of some billion parameters pass through memory."""
DRAIN_SECONDS = 30
LEFT_SECONDS = 15
"""Time between the end of the drain and the kill."""


def vllm(
    of: Owner,
    role: Role,
    model: str,
    revision: str,
    server: ManagedServer,
    images: Images,
    *,
    runner: Literal["generate", "pooling"],
    max_model_len: int | None = None,
    replicas: int | None = None,
    autoscaled: bool = False,
    drain_seconds: int = DRAIN_SECONDS,
) -> list[Manifest]:
    """Return the manifests of the server of `model`.

    `max_model_len` is the longest context in tokens (None: the model's own). Without `autoscaled` there are
    `replicas`, or as many as `server` says. After SIGTERM requests in flight have `drain_seconds` to end.
    """
    arguments = _arguments(model, revision, server, runner=runner, max_model_len=max_model_len)
    template = _template(of, role, server, images, [*arguments, f"--shutdown-timeout={drain_seconds}"], drain_seconds)
    fixed = server.replicas if replicas is None else replicas
    return [
        *model_cache.model_cache(of, role, server.model_cache)[1],
        service(of, role, names.EMBEDDER_PORT),
        deployment(
            of,
            role,
            template,
            replicas=None if autoscaled else fixed,
            surge=server.accelerator is None and server.model_cache is None,
            deadline_seconds=model_cache.start_seconds(server) + 600,
        ),
    ]


def _template(
    of: Owner, role: Role, server: ManagedServer, images: Images, arguments: Sequence[str], drain_seconds: int
) -> Manifest:
    volumes, mounts = _volumes(of, role, server)
    main = pod.container(
        role.value,
        server.image or images.vllm_server(accelerated=server.accelerator is not None),
        resources=_resources(server),
        mounts=mounts,
        port=names.EMBEDDER_PORT,
        environment=_environment(server),
        args=[*arguments, *server.args],
        probes=_probes(model_cache.start_seconds(server)),
    )
    grace = drain_seconds + LEFT_SECONDS
    template = pod.template(of, role, main, volumes=volumes, placement=server, grace_seconds=grace)
    # the image has a user of its own
    context = {**template["spec"]["securityContext"], "runAsUser": USER, "runAsGroup": GROUP, "fsGroup": GROUP}
    return {**template, "spec": {**template["spec"], "securityContext": context}}


def _probes(start_seconds: int) -> Manifest:
    return {
        "startupProbe": pod.http_probe("/health", period_seconds=10, failures=-(-start_seconds // 10)),
        "livenessProbe": pod.http_probe("/health", period_seconds=10, failures=6, timeout_seconds=10),
        "readinessProbe": pod.http_probe("/health", period_seconds=5, failures=2),
    }


def _arguments(
    model: str,
    revision: str,
    server: ManagedServer,
    *,
    runner: Literal["generate", "pooling"],
    max_model_len: int | None,
) -> list[str]:
    """Return the arguments of `vllm serve`; whoever repeats one after them has the last word."""
    arguments = [
        model,
        f"--served-model-name={model}",
        f"--revision={revision}",
        f"--tokenizer-revision={revision}",
        f"--runner={runner}",
        f"--port={names.EMBEDDER_PORT}",
        f"--max-num-queued-reqs={IN_FLIGHT}",
    ]
    if max_model_len is not None:
        arguments.append(f"--max-model-len={max_model_len}")
    if server.accelerator is not None and server.accelerator.count > 1:
        arguments.append(f"--tensor-parallel-size={server.accelerator.count}")
    return arguments


def _environment(server: ManagedServer) -> dict[str, str]:
    """Lead everything that is written to the cache volume; HOME catches what has no variable of its own."""
    cache = names.MODEL_CACHE_DIRECTORY
    return {
        **model_cache.hub_environment(server),
        "HF_HUB_CACHE": cache,
        "HOME": f"{cache}/home",
        "USER": "vllm",
        "VLLM_CACHE_ROOT": f"{cache}/vllm",
        "VLLM_NO_USAGE_STATS": "1",
    }


def _volumes(of: Owner, role: Role, server: ManagedServer) -> tuple[list[Manifest], list[Manifest]]:
    """Return the volumes and their mounts."""
    cache, _ = model_cache.model_cache(of, role, server.model_cache, scratch=SCRATCH)
    devices = server.accelerator.count if server.accelerator else 1
    shared = {"medium": "Memory", "sizeLimit": f"{SHARED_MEMORY_GIBIBYTES * devices}Gi"}
    mounts = [
        {"name": model_cache.VOLUME, "mountPath": names.MODEL_CACHE_DIRECTORY},
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 -- the path inside the container
    ]
    return [cache, {"name": "shm", "emptyDir": shared}], mounts


def _resources(server: ManagedServer) -> Manifest:
    accelerator = server.accelerator
    devices = {accelerator.resource_name: str(accelerator.count)} if accelerator else {}
    return pod.compute(server.resources, devices, least=LEAST)
