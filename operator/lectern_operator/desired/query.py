"""The query service of a RagEndpoint: a Deployment with its settings file and secrets, a Service, and how it scales."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from lectern_contract import names, query_wiring
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase, RagEndpoint
from lectern_contract.resources.rag_endpoint import ModelServer, RerankerServer
from lectern_operator.desired import config_map, flows, network_policy, pod, secret_files
from lectern_operator.desired.deployment import deployment, service
from lectern_operator.desired.disruption import disruption_budget
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner
from lectern_operator.desired.network_policy import Peer
from lectern_operator.desired.query_scaling import query_scaling
from lectern_operator.desired.service_account import service_account
from lectern_operator.desired.service_monitor import service_monitor

PROMPT_VOLUME = "prompt"
LEFT_SECONDS = 5
"""Time between the longest question and the kill."""


def query(
    endpoint: RagEndpoint,
    knowledge_bases: Mapping[str, KnowledgeBase],
    *,
    replicas: int | None,
    monitored: bool,
    images: Images,
) -> list[Manifest]:
    """Return the manifests of the service over the `knowledge_bases` that the spec names, by the names it gives them.

    `replicas` None leaves their number to the autoscaler; `monitored` says that the kind ServiceMonitor is served.
    """
    of, autoscaling = owner(endpoint), endpoint.spec.autoscaling
    settings = config_map.settings_config_map(of, Role.QUERY, query_wiring.query_settings(endpoint, knowledge_bases))
    found = [service_account(of, Role.QUERY, pull_secrets=images.pull_secrets), settings]
    if endpoint.spec.network_policy.enabled:
        everybody = Peer(())  # callers and gateways may be anywhere: the service itself asks who they are
        reached = _reached(endpoint, knowledge_bases)
        found.append(
            network_policy.network_policy(of, Role.QUERY, port=names.RUNTIME_PORT, ingress=[everybody], egress=reached)
        )
    found += [
        service(of, Role.QUERY, names.RUNTIME_PORT),
        deployment(of, Role.QUERY, _template(endpoint, knowledge_bases, settings, images), replicas=replicas),
    ]
    most = autoscaling.max_replicas if autoscaling is not None else replicas
    if most is not None and most > 1:
        found.append(disruption_budget(of, Role.QUERY))
    if autoscaling is not None:
        found.append(query_scaling(of, autoscaling))
    if monitored:
        found.append(service_monitor(of, Role.QUERY, extra_labels=images.monitor_labels))
    return found


def _template(
    endpoint: RagEndpoint, knowledge_bases: Mapping[str, KnowledgeBase], settings: Manifest, images: Images
) -> Manifest:
    volume, mount, annotations = config_map.mounted(settings)
    secret_volumes, secret_mounts = secret_files.volumes(Role.QUERY, _secrets(endpoint, knowledge_bases))
    key_volumes, key_mounts = secret_files.api_keys(endpoint.spec.auth.api_keys_secret_ref)
    prompt_volumes, prompt_mounts = _prompt(endpoint)
    main = pod.container(
        Role.QUERY.value,
        images.query,
        resources=pod.compute(endpoint.spec.resources),
        mounts=[mount, *secret_mounts, *key_mounts, *prompt_mounts],
        port=names.RUNTIME_PORT,
        probes=pod.runtime_probes(),
    )
    return pod.template(
        owner(endpoint),
        Role.QUERY,
        main,
        volumes=[volume, *secret_volumes, *key_volumes, *prompt_volumes],
        annotations=annotations,
        grace_seconds=endpoint.spec.resilience.timeout_seconds + LEFT_SECONDS,
    )


def _prompt(endpoint: RagEndpoint) -> tuple[list[Manifest], list[Manifest]]:
    """Return the volume and the mount of the prompt template, where the spec names one."""
    generation = endpoint.spec.generation
    reference = generation.prompt_config_map_ref if generation is not None else None
    if reference is None:
        return [], []
    items = [{"key": reference.key, "path": PurePosixPath(names.PROMPT_FILE).name}]
    volume = {"name": PROMPT_VOLUME, "configMap": {"name": reference.name, "items": items}}
    return [volume], [{"name": PROMPT_VOLUME, "mountPath": names.PROMPT_DIRECTORY, "readOnly": True}]


def _secrets(endpoint: RagEndpoint, knowledge_bases: Mapping[str, KnowledgeBase]) -> list[secret_files.SecretFile]:
    """Return the files of the endpoint and of every knowledge base, apart by its name; the log is the first one's."""
    references = endpoint.spec.knowledge_base_refs
    found = [*secret_files.endpoint(endpoint), *secret_files.log(knowledge_bases[references[0]])]
    for reference in references:
        kb, prefix = knowledge_bases[reference], query_wiring.secret_prefix(reference)
        found += [*secret_files.embedder(kb, prefix), *secret_files.vector_store(kb, prefix)]
    return found


def _reached(endpoint: RagEndpoint, knowledge_bases: Mapping[str, KnowledgeBase]) -> list[Peer]:
    """Return what the service speaks to: name servers, what it searches in, and the servers that the spec names."""
    spec, of = endpoint.spec, owner(endpoint)
    found = [network_policy.dns()]
    for reference in spec.knowledge_base_refs:
        kb = knowledge_bases[reference]
        found += [*flows.embedder(kb, of.namespace), *flows.vector_store(kb, of.namespace)]
    addresses = [
        messaging.bootstrap_servers
        for messaging in [knowledge_bases[spec.knowledge_base_refs[0]].spec.messaging]
        if messaging is not None
    ]
    addresses += [spec.cache.redis.url] if spec.cache.redis else []
    fallback = spec.generation.fallback if spec.generation else None
    addresses += [fallback.url] if fallback else []
    addresses += [spec.auth.jwt.jwks_url] if spec.auth.jwt else []
    addresses += [spec.observability.tracing.endpoint] if spec.observability.tracing else []
    for role, server in _model_servers(endpoint):
        if server.external is not None:
            addresses.append(server.external.url)
        else:
            found.append(network_policy.role_of(of, role))
    for address in addresses:
        found += network_policy.servers(address, namespace=of.namespace)
    return list(dict.fromkeys(found))


def _model_servers(endpoint: RagEndpoint) -> list[tuple[Role, ModelServer | RerankerServer]]:
    generation, reranker = endpoint.spec.generation, endpoint.spec.reranker
    found: list[tuple[Role, ModelServer | RerankerServer]] = []
    if generation is not None:
        found.append((Role.GENERATOR, generation.server))
    if reranker is not None:
        found.append((Role.RERANKER, reranker.server))
    return found
