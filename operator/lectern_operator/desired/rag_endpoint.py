"""Everything that one RagEndpoint wants to exist on the cluster, in the order in which it is applied."""

from __future__ import annotations

from collections.abc import Mapping

from lectern_contract.resources import KnowledgeBase, RagEndpoint
from lectern_operator.desired.cache_salt import cache_salt
from lectern_operator.desired.exposure import http_route, ingress
from lectern_operator.desired.generator import generator
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner
from lectern_operator.desired.query import query
from lectern_operator.desired.reranker import reranker


def manifests(
    endpoint: RagEndpoint,
    knowledge_bases: Mapping[str, KnowledgeBase],
    *,
    replicas: int | None,
    generators: int | None = None,
    scaled: bool = False,
    routed: bool = True,
    monitored: bool = False,
    salt: str | None = None,
    images: Images,
) -> list[Manifest]:
    """Return the children of `endpoint` over `knowledge_bases`, by the names that the spec gives them.

    `replicas` (of the query service) and `generators` (of the language model) None leave the number to an autoscaler.
    `scaled` asks for the ScaledObject of the language model, `routed` for what the exposure says, `monitored` for
    ServiceMonitors; `salt` is the content of a Secret that does not exist yet.
    """
    spec = endpoint.spec
    found = query(endpoint, knowledge_bases, replicas=replicas, monitored=monitored, images=images)
    if spec.generation is not None and spec.generation.server.managed is not None:
        if salt is not None:
            found.append(cache_salt(owner(endpoint), salt))
        found += generator(
            endpoint,
            spec.generation,
            spec.generation.server.managed,
            images,
            replicas=generators,
            scaled=scaled,
            monitored=monitored,
        )
    if spec.reranker is not None and spec.reranker.server.managed is not None:
        searched = [knowledge_bases[reference] for reference in spec.knowledge_base_refs]
        found += reranker(endpoint, spec.reranker, spec.reranker.server.managed, searched, images, monitored=monitored)
    if routed and spec.exposure.http_route is not None:
        found.append(http_route(endpoint, spec.exposure.http_route))
    if spec.exposure.ingress is not None:
        found.append(ingress(endpoint, spec.exposure.ingress))
    return found
