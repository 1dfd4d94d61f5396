"""What a KnowledgeBase has outside the cluster: its broker, its store, its embedding server, and what its pods run.

`observe` asks all of them at once, `perform` takes the steps that the policies planned, and both say what came of it as
facts: nothing is raised for a system that does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar

from lectern_contract import labels, names, pending, topics
from lectern_contract.names import Role
from lectern_contract.references import references
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.status import DocumentCounts, SourceDocuments
from lectern_operator.clients.embedder import EmbedderServer
from lectern_operator.clients.kafka import BrokerServer
from lectern_operator.clients.qdrant import StoreServer
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.broker import BrokerState
from lectern_operator.facts.broker import Step as BrokerStep
from lectern_operator.facts.external import NOT_ASKED, External
from lectern_operator.facts.outside import EmbedderFacts
from lectern_operator.facts.vector_store import Step as StoreStep
from lectern_operator.facts.vector_store import StoreState
from lectern_operator.policies import collection, config_applied, generation
from lectern_operator.policies.config_applied import Asked
from lectern_operator.policies.topics import by_broker
from lectern_operator.reconcilers import children, guarded
from lectern_operator.reconcilers import references as reading
from lectern_operator.reconcilers.outside import Outside
from lectern_operator.reconcilers.world import World

Pod = Mapping[str, Any]
Server = TypeVar("Server")
Step = TypeVar("Step")
Server_in = TypeVar("Server_in", contravariant=True)
Step_in = TypeVar("Step_in", contravariant=True)


class Performs(Protocol[Server_in, Step_in]):
    """A system that takes steps."""

    async def perform(self, server: Server_in, step: Step_in) -> Fact[None]:
        """Take a step: done, or why not."""
        ...


@dataclass(frozen=True, slots=True)
class Servers:
    """How the systems outside are reached, or why that cannot be said."""

    broker: Fact[BrokerServer]
    store: Fact[StoreServer]


async def servers(kb: KnowledgeBase, outside: Outside) -> Servers:
    """Return how broker and store are reached; what has to log in first reads its Secret."""
    return Servers(broker=await _broker_server(kb, outside), store=await _store_server(kb, outside))


async def observe(kb: KnowledgeBase, pods: Sequence[Pod], known: Servers, outside: Outside) -> External:
    """Ask everything that `kb` names."""
    named = tuple(each for each in references(kb) if not pending.covers(kb.kind_name, each.field))
    embedder, broker, store = await asyncio.gather(
        _embedder(kb, pods, outside), _broker(kb, known.broker, outside), _store(kb, known.store, outside)
    )
    contents = await reading.read(named, outside.contents)
    return External(references=named, contents=contents, embedder=embedder, broker=broker, store=store)


async def perform(
    kb: KnowledgeBase,
    seen: External,
    known: Servers,
    of_broker: Sequence[BrokerStep],
    of_store: Sequence[StoreStep],
    world: World,
) -> External:
    """Take the steps in order, up to the first that is not done, and look again at what they were about."""
    if of_broker or of_store:
        await guarded.confirm(world)
    outside = world.outside
    if of_broker and isinstance(known.broker, Known):
        failed = await _first_failure(outside.brokers, known.broker.value, of_broker)
        seen = replace(seen, broker=await _broker(kb, known.broker, outside), broker_failures=failed)
    if of_store and isinstance(known.store, Known):
        failed = await _first_failure(outside.stores, known.store.value, of_store)
        seen = replace(seen, store=await _store(kb, known.store, outside), store_failures=failed)
    documents, by_source = await _documents(kb, seen.store, known.store, outside)
    return replace(seen, documents=documents, by_source=by_source)


async def _first_failure(system: Performs[Server, Step], server: Server, steps: Sequence[Step]) -> tuple[Unknown, ...]:
    for step in steps:
        done = await system.perform(server, step)
        if isinstance(done, Unknown):
            return (done,)
    return ()


async def asked(pods: Sequence[Pod], outside: Outside, *roles: Role) -> tuple[Asked, ...]:
    """Ask every running pod of these roles what it has loaded."""
    running = config_applied.running(pods, *(role.value for role in roles))
    facts = await children.together(*(outside.runtimes.loaded(pod) for pod in running))
    return tuple(Asked(pod, fact) for pod, fact in zip(running, facts, strict=True))


async def _embedder(kb: KnowledgeBase, pods: Sequence[Pod], outside: Outside) -> Fact[EmbedderFacts]:
    spec = kb.spec.embedding
    if spec.server is None:
        return Unknown("spec.embedding.server is not set")
    if spec.server.external is not None:
        external = spec.server.external
        key = await reading.value(external.api_key_secret_ref, kb.namespace, outside.contents)
        ca = await reading.value(external.ca_secret_ref, kb.namespace, outside.contents)
        if isinstance(key, Unknown):
            return key
        if isinstance(ca, Unknown):
            return ca
        return await outside.embedders.look(
            EmbedderServer(external.url, external.protocol, spec.model, key.value, ca.value)
        )
    address = _address(pods)
    if address is None:
        return Unknown("no pod of the embedding server is ready")
    managed = spec.server.managed
    protocol: Literal["OpenAI", "TEI"] = "OpenAI" if managed is not None and managed.engine == "Vllm" else "TEI"
    host = f"[{address}]" if ":" in address else address
    return await outside.embedders.look(EmbedderServer(f"http://{host}:{names.EMBEDDER_PORT}", protocol, spec.model))


def _address(pods: Sequence[Pod]) -> str | None:
    """Return the address of a ready pod of the embedding server: its Service's name is of use in the cluster only."""
    for pod in sorted(pods, key=lambda each: str(each["metadata"]["name"])):
        metadata = pod["metadata"]
        if metadata.get("labels", {}).get(labels.ROLE) != Role.EMBEDDER or "deletionTimestamp" in metadata:
            continue
        status = pod.get("status", {})
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))
        if ready and status.get("podIP"):
            return str(status["podIP"])
    return None


async def _broker(kb: KnowledgeBase, server: Fact[BrokerServer], outside: Outside) -> Fact[BrokerState]:
    if not by_broker(kb):
        return NOT_ASKED
    if isinstance(server, Unknown):
        return server
    return await outside.brokers.look(server.value, [each.name for each in topics.topics(kb)])


async def _store(kb: KnowledgeBase, server: Fact[StoreServer], outside: Outside) -> Fact[StoreState]:
    if kb.spec.vector_store is None:
        return NOT_ASKED
    if isinstance(server, Unknown):
        return server
    return await outside.stores.look(server.value, collection.subject(kb))


async def _documents(
    kb: KnowledgeBase, store: Fact[StoreState], server: Fact[StoreServer], outside: Outside
) -> tuple[Fact[DocumentCounts], Fact[tuple[SourceDocuments, ...]]]:
    """Count the documents of the generation that answers: all, and those of each source."""
    if isinstance(store, Unknown) or isinstance(server, Unknown):
        return NOT_ASKED, NOT_ASKED
    name = names.collection(kb.namespace, kb.name, generation.answering(kb, store))
    found = store.value.collections.get(name)
    if found is None:
        return NOT_ASKED, NOT_ASKED
    return await outside.stores.documents(server.value, found), await outside.stores.by_source(server.value, found)


async def _broker_server(kb: KnowledgeBase, outside: Outside) -> Fact[BrokerServer]:
    kafka = kb.spec.messaging
    if kafka is None:
        return NOT_ASKED
    keys = ("username", "password")
    login = await reading.pair(kafka.credentials_secret_ref, keys, kb.namespace, outside.contents)
    ca = await reading.value(kafka.ca_secret_ref, kb.namespace, outside.contents)
    if isinstance(login, Unknown):
        return login
    if isinstance(ca, Unknown):
        return ca
    username, password = login.value or (None, None)
    return Known(
        BrokerServer(
            bootstrap_servers=kafka.bootstrap_servers,
            security_protocol=kafka.security_protocol,
            sasl_mechanism=kafka.sasl_mechanism,
            username=username,
            password=password,
            ca=ca.value,
        )
    )


async def _store_server(kb: KnowledgeBase, outside: Outside) -> Fact[StoreServer]:
    store = kb.spec.vector_store
    if store is None:
        return NOT_ASKED
    key = await reading.value(store.api_key_secret_ref, kb.namespace, outside.contents)
    ca = await reading.value(store.ca_secret_ref, kb.namespace, outside.contents)
    if isinstance(key, Unknown):
        return key
    if isinstance(ca, Unknown):
        return ca
    return Known(StoreServer(store.url, key.value, ca.value))
