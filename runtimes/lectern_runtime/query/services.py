"""The world of one query process, handed to `create_app` as a value: adapters by port, clock, ids, registry.

Whoever composes the process (main, or the embedded mode) opens these and closes them after the app has stopped.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client import CollectorRegistry

from lectern_runtime.api_keys import ApiKeys
from lectern_runtime.ports import AnswerCache, Embedder, Generator, Log, Reranker, VectorStore
from lectern_runtime.signing_keys import SigningKeys


def _installed_version() -> str:
    return version("lectern")


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the query runtime needs besides its settings. Stores and embedders are by name of the knowledge base.

    Knowledge bases that share an adapter object share its calls: a question is embedded once for each distinct
    embedder. Without `log`, answers are not cached, because nobody would say when a document changed. `signing_keys`
    and `api_keys` are there where the settings declare tokens and API keys.
    """

    stores: Mapping[str, VectorStore]
    embedders: Mapping[str, Embedder]
    generator: Generator
    reranker: Reranker | None = None
    cache: AnswerCache | None
    log: Log | None
    registry: CollectorRegistry
    config_hash: str
    signing_keys: SigningKeys | None = None
    api_keys: ApiKeys | None = None
    version: str = field(default_factory=_installed_version)
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    new_id: Callable[[], str] = _new_id
