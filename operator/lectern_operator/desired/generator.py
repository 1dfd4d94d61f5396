"""The language model of a RagEndpoint: a vLLM server, what surrounds it, how it scales.

Called by `desired.rag_endpoint` when `spec.generation.server.managed` is set.
"""

from __future__ import annotations

from lectern_contract.names import Role
from lectern_contract.resources import RagEndpoint
from lectern_contract.resources.common import ManagedServer
from lectern_contract.resources.rag_endpoint import Generation
from lectern_operator.desired.disruption import disruption_budget
from lectern_operator.desired.generator_scaling import generator_scaling
from lectern_operator.desired.images import Images
from lectern_operator.desired.metadata import Manifest, owner
from lectern_operator.desired.model_access import model_access
from lectern_operator.desired.vllm import vllm


def generator(
    endpoint: RagEndpoint,
    generation: Generation,
    server: ManagedServer,
    images: Images,
    *,
    replicas: int | None,
    scaled: bool,
    monitored: bool,
) -> list[Manifest]:
    """Return the manifests of the server of `generation`; `replicas` None leaves their number to KEDA."""
    of = owner(endpoint)
    found = model_access(endpoint, Role.GENERATOR, server, images, monitored=monitored)
    found += vllm(
        of,
        Role.GENERATOR,
        generation.model,
        generation.revision,
        server,
        images,
        runner="generate",
        max_model_len=generation.context_window,
        replicas=replicas,
        autoscaled=replicas is None,
        # no question lasts longer
        drain_seconds=endpoint.spec.resilience.timeout_seconds,
    )
    most = generation.scaling.max_replicas if replicas is None and generation.scaling is not None else replicas
    if most is not None and most > 1:
        found.append(disruption_budget(of, Role.GENERATOR))
    if scaled and generation.scaling is not None:
        found.append(generator_scaling(of, generation.scaling))
    return found
