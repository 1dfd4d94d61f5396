"""What one process has to run, decided before anything is started: pure, from manifests and options.

`lectern up` and `lectern demo` read manifests, make a `Plan` and hand it to `embedded`. All that can be
wrong with what the user wrote is found here or in `manifests`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lectern_cli.manifests import Manifests
from lectern_contract import query_wiring, wiring
from lectern_contract.errors import ConfigurationError
from lectern_contract.references import references
from lectern_contract.resources import KnowledgeBase, RagEndpoint
from lectern_contract.settings import ConnectorSettings, QuerySettings, ReceiverSettings
from lectern_contract.settings_parts import TracingSettings
from lectern_runtime.embed.masking import Masking


@dataclass(frozen=True)
class Plan:
    """The knowledge bases to fill, the sources to read, the one to receive for, and the endpoint to serve."""

    manifests: Manifests
    knowledge_bases: Mapping[str, KnowledgeBase]
    connectors: Mapping[str, ConnectorSettings]
    receiver: ReceiverSettings | None
    endpoint: RagEndpoint
    query: QuerySettings

    @property
    def tracing(self) -> TracingSettings | None:
        """Where the spans of this one process go: as the endpoint says, else as the first source that says so."""
        said = (self.query.tracing, *(each.tracing for each in self.connectors.values()))
        return next((each for each in said if each is not None), None)


def make(
    manifests: Manifests, *, mounts: Mapping[str, Path], endpoint: str | None, api_keys: Path | None = None
) -> Plan:
    """The plan for `manifests`; `mounts` says where each claim lies on this machine, `api_keys` where those keys do.

    Raises `ConfigurationError` when a knowledge base asks for servers, when a claim or its directory is
    missing, when the endpoint is not clear, or when a mount names a claim that no source uses.
    """
    for kb in manifests.knowledge_bases.values():
        _check_embedded(kb)
    _check_sources(manifests)
    chosen = _endpoint(manifests, endpoint)
    roots = {name: _root(manifests, name, mounts) for name in manifests.sources}
    connectors = {
        name: wiring.connector_settings(
            source, manifests.knowledge_bases[source.spec.knowledge_base_ref], source_root=str(roots[name])
        )
        for name, source in manifests.sources.items()
        if source.spec.push is None
    }
    _check_mounts(manifests, mounts)
    _check_api_keys(manifests, chosen, api_keys)
    return Plan(
        manifests=manifests,
        knowledge_bases=manifests.knowledge_bases,
        connectors=connectors,
        receiver=_receiver(manifests, api_keys),
        endpoint=chosen,
        query=_query(chosen, manifests, api_keys),
    )


def _query(endpoint: RagEndpoint, manifests: Manifests, api_keys: Path | None) -> QuerySettings:
    """Settings of the query API; the keys that the endpoint takes from a Secret lie in `api_keys` here."""
    settings = query_wiring.query_settings(endpoint, manifests.knowledge_bases)
    named = endpoint.spec.auth.api_keys_secret_ref is not None
    directory = str(api_keys.resolve()) if named and api_keys is not None else None
    auth = settings.auth.model_copy(update={"api_keys_directory": directory})
    reranker = settings.reranker if _within_reach(endpoint) else None
    return settings.model_copy(update={"auth": auth, "reranker": reranker})


def _within_reach(endpoint: RagEndpoint) -> bool:
    """Whether the reranker runs elsewhere and needs no Secret; of another one `pending.unread` tells."""
    external = endpoint.spec.reranker.server.external if endpoint.spec.reranker else None
    return external is not None and not external.api_key_secret_ref and not external.ca_secret_ref


def _check_api_keys(manifests: Manifests, endpoint: RagEndpoint, api_keys: Path | None) -> None:
    """Refuse a directory of API keys that nothing would read, or that is none."""
    pushed = any(source.spec.push is not None for source in manifests.sources.values())
    if api_keys is not None and not pushed and endpoint.spec.auth.api_keys_secret_ref is None:
        raise ConfigurationError(
            f"--api-keys {api_keys}: no source is of the kind push, and RagEndpoint/{endpoint.name} has no "
            "spec.auth.apiKeysSecretRef; leave it out"
        )
    if api_keys is not None and not api_keys.is_dir():
        raise ConfigurationError(f"--api-keys {api_keys}: not a directory; make it and put the files of the keys there")


def _receiver(manifests: Manifests, api_keys: Path | None) -> ReceiverSettings | None:
    """Settings of the push source, of which one process can serve one, because it has one port."""
    pushed = [source for source in manifests.sources.values() if source.spec.push is not None]
    if len(pushed) > 1:
        names = ", ".join(sorted(source.name for source in pushed))
        raise ConfigurationError(f"one process takes documents for one source of the kind push, found {names}")
    if not pushed:
        return None
    source = pushed[0]
    settings = wiring.receiver_settings(source, manifests.knowledge_bases[source.spec.knowledge_base_ref])
    # The Secret that the resource names is the cluster's; here the command line says where the keys lie.
    return settings.model_copy(update={"api_keys_directory": str(api_keys.resolve()) if api_keys else None})


def _check_embedded(kb: KnowledgeBase) -> None:
    """Refuse what only a cluster has, and masking patterns that are none."""
    for field, value in (
        ("spec.vectorStore", kb.spec.vector_store),
        ("spec.messaging", kb.spec.messaging),
        ("spec.blobStore", kb.spec.blob_store),
        ("spec.embedding.server", kb.spec.embedding.server),
    ):
        if value is not None:
            raise ConfigurationError(
                f"KnowledgeBase/{kb.name}: {field} names a server, and `lectern up` brings its own; "
                "leave it out to run in one process, or run this knowledge base on a cluster"
            )
    Masking(wiring.worker_settings(kb, generation=1).masking)


def _check_sources(manifests: Manifests) -> None:
    """Refuse Secrets, which nobody mounts here; the keys of a push source have an option of their own."""
    for source in manifests.sources.values():
        for each in [] if source.spec.push is not None else references(source):
            raise ConfigurationError(
                f"IngestionSource/{source.name}: {each.field} names the Secret {each.name}, and one process has no "
                "Secrets; leave it out, or run this source on a cluster"
            )


def parse_mounts(texts: list[str]) -> dict[str, Path]:
    """`CLAIM=DIR` texts as a mapping; raises `ConfigurationError` for any other shape."""
    mounts: dict[str, Path] = {}
    for text in texts:
        claim, equals, directory = text.partition("=")
        if not (claim and equals and directory):
            raise ConfigurationError(
                f"--mount {text!r}: write it as CLAIM=DIR, for instance lectern-guides=docs/guides"
            )
        if claim in mounts:
            raise ConfigurationError(f"--mount {text!r}: claim {claim} is mounted twice; remove one")
        mounts[claim] = Path(directory).expanduser().resolve()
    return mounts


def _endpoint(manifests: Manifests, wanted: str | None) -> RagEndpoint:
    endpoints = manifests.endpoints
    offer = ", ".join(sorted(endpoints)) or "none"
    if wanted is not None:
        if wanted not in endpoints:
            raise ConfigurationError(f"--endpoint {wanted}: no such RagEndpoint (there is: {offer})")
        return endpoints[wanted]
    if len(endpoints) != 1:
        next_step = "add one" if not endpoints else "name the one to serve with --endpoint"
        raise ConfigurationError(f"one process serves one RagEndpoint, found {len(endpoints)} ({offer}); {next_step}")
    return next(iter(endpoints.values()))


def _root(manifests: Manifests, source: str, mounts: Mapping[str, Path]) -> Path:
    """Directory that the claim of `source` stands for, checked down to the source's own path."""
    volume = manifests.sources[source].spec.persistent_volume
    if volume is None:
        return Path()  # wiring refuses the kind of source with its own sentence
    root = mounts.get(volume.claim_name)
    if root is None:
        raise ConfigurationError(
            f"IngestionSource/{source} reads the claim {volume.claim_name!r}: say where it lies on this machine "
            f"with --mount {volume.claim_name}=DIR"
        )
    directory = root / volume.path
    if not directory.is_dir():
        raise ConfigurationError(
            f"IngestionSource/{source}: {directory} is not a directory; correct --mount {volume.claim_name}=DIR "
            "or spec.persistentVolume.path"
        )
    return root


def _check_mounts(manifests: Manifests, mounts: Mapping[str, Path]) -> None:
    used = {
        source.spec.persistent_volume.claim_name
        for source in manifests.sources.values()
        if source.spec.persistent_volume is not None
    }
    for claim in mounts:
        if claim not in used:
            offer = ", ".join(sorted(used)) or "none"
            raise ConfigurationError(f"--mount {claim}=…: no source reads that claim (claims in use: {offer})")
