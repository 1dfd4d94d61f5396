"""The query service of a RagEndpoint: a Deployment with its settings file and secrets, and a Service."""

from __future__ import annotations

from collections.abc import Mapping

from lectern_contract import names, wiring
from lectern_contract.names import Role
from lectern_contract.resources import KnowledgeBase, RagEndpoint
from lectern_operator.desired import config_map, pod, secret_files
from lectern_operator.desired.deployment import deployment, service
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner


def manifests(
    endpoint: RagEndpoint, knowledge_bases: Mapping[str, KnowledgeBase], *, replicas: int, images: Images
) -> list[Manifest]:
    """Return the children of `endpoint` over the knowledge bases that it names."""
    of = owner(endpoint)
    settings = config_map.settings_config_map(of, Role.QUERY, wiring.query_settings(endpoint, knowledge_bases))
    volume, mount, annotations = config_map.mounted(settings)
    secret_volumes, secret_mounts = secret_files.volumes(Role.QUERY, _secrets(endpoint, knowledge_bases))
    main = pod.container(
        Role.QUERY.value,
        images.query,
        resources=pod.compute(endpoint.spec.resources),
        mounts=[mount, *secret_mounts],
        port=names.RUNTIME_PORT,
        probes=pod.runtime_probes(),
    )
    template = pod.template(
        of,
        Role.QUERY,
        main,
        volumes=[volume, *secret_volumes],
        annotations=annotations,
        grace_seconds=endpoint.spec.resilience.timeout_seconds + 5,
    )
    return [
        settings,
        service(of, Role.QUERY, names.RUNTIME_PORT),
        deployment(of, Role.QUERY, template, replicas=replicas),
    ]


def _secrets(endpoint: RagEndpoint, knowledge_bases: Mapping[str, KnowledgeBase]) -> list[secret_files.SecretFile]:
    """Return the files of every knowledge base, apart by its name; the log is the first one's, as in `wiring`."""
    searched = [knowledge_bases[name] for name in endpoint.spec.knowledge_base_refs]
    found = secret_files.log(searched[0])
    for kb in searched:
        prefix = f"{kb.name}."
        found += [*secret_files.embedder(kb, prefix), *secret_files.vector_store(kb, prefix)]
    return found
