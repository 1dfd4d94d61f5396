"""The spec of a RagEndpoint: one query API over one or more knowledge bases.

Says how passages are found, how an answer is made of them, who may ask, and how the service runs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from lectern_contract.resources.common import (
    KUBERNETES_NAME,
    ConfigMapKeyRef,
    CredentialsRef,
    Cron,
    HttpUrl,
    ManagedServer,
    ModelName,
    NamespaceName,
    NetworkPolicy,
    ObjectName,
    PartitionPart,
    Resources,
    Rule,
    SecretKeyRef,
    ShortText,
    SpecModel,
    Unit,
    at_most_one,
    exactly_one,
    not_above,
    unique,
)
from lectern_contract.resources.redis import Redis
from lectern_contract.resources.tracing import Tracing

HostName = Annotated[str, StringConstraints(pattern=KUBERNETES_NAME, max_length=253)]
KnowledgeBaseRef = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", min_length=1, max_length=104
    ),
]
"""The name of a KnowledgeBase in the resource's own namespace, or namespace/name in another one."""


class Retrieval(SpecModel):
    """How passages are found."""

    mode: Literal["Hybrid", "Dense", "Sparse"] = Field(
        default="Hybrid", description="Which vectors are searched; Hybrid fuses both by reciprocal rank."
    )
    candidates: int = Field(default=50, ge=1, le=1000, description="Passages taken from each kind of search.")
    top_k: int = Field(default=5, ge=1, le=100, description="Passages that an answer is made of.")
    rrf_k: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="Constant k of reciprocal rank fusion: a passage at rank r (from 0) of a list of weight w scores "
        "1 / ((r + 1) / w + k - 1). Small values favour the first ranks.",
    )
    sparse_weight: Annotated[
        str, StringConstraints(pattern=r"^(0\.[0-9]{0,2}[1-9]|[1-9](\.[0-9]{1,3})?|10)$", max_length=5)
    ] = Field(default="1.5", description="Weight of the term search against 1 for the vector search, in Hybrid mode.")
    min_score: Unit = Field(
        default="0.3",
        description="Lowest support, from 0 to 1, that the best passage must give; below it the question is refused. "
        "Support is judged on what the searches found: a reranker changes the order of passages and not their support.",
    )
    context_token_budget: int = Field(
        default=2048, ge=128, le=1_000_000, description="Most tokens of passages that the generator is given."
    )
    follow_ups: Literal["Join", "Rewrite"] = Field(
        default="Join",
        description="How the question of a conversation is made to stand alone: Join searches it together with the "
        "question before it, Rewrite lets the language model reword it, which costs one call.",
    )
    variants: int = Field(
        default=1,
        ge=1,
        le=5,
        description="Wordings of a question that are searched and fused, its own included; more than 1 cost one call "
        "of the language model.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (not_above("top_k", "candidates"),)


class ExternalServer(SpecModel):
    """A model server that runs elsewhere."""

    url: HttpUrl = Field(description="Base URL of the server.")
    api_key_secret_ref: SecretKeyRef | None = Field(default=None, description="Key sent as bearer token.")
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Certificate authority of the server; left out means the system's."
    )


class ModelServer(SpecModel):
    """Who runs a model: a server of ours or one elsewhere."""

    managed: ManagedServer | None = Field(default=None, description="A server that the operator runs.")
    external: ExternalServer | None = Field(default=None, description="A server that runs elsewhere.")

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("managed", "external", message="set exactly one of managed and external"),
    )


class ExternalReranker(ExternalServer):
    """A reranker that runs elsewhere."""

    protocol: Literal["TEI", "Vllm"] = Field(
        default="TEI", description="How it is asked: `/rerank` as TEI has it, or `/v1/rerank` of vLLM's score API."
    )


class RerankerServer(SpecModel):
    """Who runs the reranker: a server of ours or one elsewhere."""

    managed: ManagedServer | None = Field(default=None, description="A server that the operator runs.")
    external: ExternalReranker | None = Field(default=None, description="A server that runs elsewhere.")

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("managed", "external", message="set exactly one of managed and external"),
    )


class Reranker(SpecModel):
    """A cross-encoder that puts the best candidates first."""

    model: ModelName = Field(description="Name of the model.")
    revision: ShortText = Field(default="main", description="Revision of the model; pin a commit in production.")
    server: RerankerServer = Field(description="Who runs the model.")
    candidates: int = Field(
        default=50,
        ge=1,
        le=500,
        description="Passages that are scored again; retrieval.candidates bounds how many each knowledge base gives.",
    )
    deadline_milliseconds: int = Field(
        default=200, ge=1, le=60000, description="Time after which the fused order is used and the answer is flagged."
    )


class FallbackModel(ExternalServer):
    """Another language model, asked when the first one fails."""

    model: ModelName = Field(description="Name of the model, as its server calls it.")


class GenerationScaling(SpecModel):
    """How a managed language model scales, by KEDA on figures that Prometheus has of it."""

    min_replicas: int = Field(
        default=0, ge=0, le=64, description="Fewest replicas; with 0 the first question starts one and waits for it."
    )
    max_replicas: int = Field(default=1, ge=1, le=64, description="Most replicas.")
    prometheus_url: HttpUrl = Field(
        description="Prometheus that scrapes the ServiceMonitors of this resource, as KEDA reaches it."
    )
    waiting_requests: int = Field(
        default=4, ge=1, le=10_000, description="Requests that wait for each replica before another one is started."
    )
    cooldown_seconds: int = Field(
        default=1800,
        ge=300,
        le=86_400,
        description="Seconds without a question before the last replica goes; keep it above the time that the model "
        "takes to load.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (not_above("min_replicas", "max_replicas"),)


def _outlasts_start(scaling: GenerationScaling | None, server: ManagedServer | None) -> bool:
    if scaling is None or server is None or server.startup_seconds is None:
        return True
    return scaling.cooldown_seconds >= server.startup_seconds


class Generation(SpecModel):
    """The language model that words the answer."""

    model: ModelName = Field(description="Name of the model.")
    revision: ShortText = Field(default="main", description="Revision of the model; pin a commit in production.")
    server: ModelServer = Field(description="Who runs the model.")
    fallback: FallbackModel | None = Field(
        default=None, description="Another model server, asked when the first one fails; the answer is marked degraded."
    )
    prompt_config_map_ref: ConfigMapKeyRef | None = Field(
        default=None, description="Prompt template; left out means the one that ships."
    )
    max_tokens: int = Field(default=512, ge=1, le=131072, description="Longest answer in tokens.")
    temperature: Annotated[str, StringConstraints(pattern=r"^([01](\.[0-9]{1,3})?|2(\.0{1,3})?)$", max_length=5)] = (
        Field(default="0", description="Sampling temperature from 0 to 2, as a decimal string.")
    )
    context_window: int = Field(
        default=8192, ge=512, le=10_000_000, description="Context window of the model in tokens."
    )
    scaling: GenerationScaling | None = Field(
        default=None, description="How a managed server scales; left out means its fixed number of replicas."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.scaling) || has(self.server.managed)",
            message="scaling belongs to a managed server; remove it, or set server.managed",
            field="scaling",
            holds=lambda value: value.scaling is None or value.server.managed is not None,
        ),
        Rule(
            cel="!has(self.scaling) || !has(self.server.managed) || !has(self.server.managed.startupSeconds) || "
            "self.scaling.cooldownSeconds >= self.server.managed.startupSeconds",
            message="cooldownSeconds must not be less than server.managed.startupSeconds: the model would go before "
            "it has been loaded",
            field="scaling.cooldownSeconds",
            holds=lambda value: _outlasts_start(value.scaling, value.server.managed),
        ),
        Rule(
            cel="self.maxTokens < self.contextWindow",
            message="maxTokens must be smaller than contextWindow",
            field="maxTokens",
            holds=lambda value: bool(value.max_tokens < value.context_window),
        ),
    )


class ExactCache(SpecModel):
    """Answers to the same question again."""

    ttl_seconds: int = Field(default=3600, ge=1, le=2_592_000, description="Age in seconds at which an answer expires.")
    stale_seconds: int = Field(
        default=0, ge=0, le=2_592_000, description="Further seconds in which it may stand in for a failed model."
    )


class SemanticCache(SpecModel):
    """Answers to nearly the same question."""

    min_similarity: Unit = Field(default="0.95", description="Lowest cosine similarity of the two questions.")
    ttl_seconds: int = Field(default=3600, ge=1, le=2_592_000, description="Age in seconds at which an answer expires.")
    max_entries: int = Field(default=10_000, ge=1, le=10_000_000, description="Most answers that are kept.")


class Cache(SpecModel):
    """The answer cache."""

    redis: Redis | None = Field(default=None, description="Redis server; left out means the memory of each process.")
    exact: ExactCache | None = Field(default=None, description="Answers to the same question; left out means none.")
    semantic: SemanticCache | None = Field(
        default=None, description="Answers to nearly the same question; left out means none."
    )


class Anonymous(SpecModel):
    """What a caller without credentials may read."""

    tenant: PartitionPart = Field(description="Tenant whose documents are read.")
    access_levels: tuple[PartitionPart, ...] = Field(
        min_length=1, max_length=32, description="Access levels that are read."
    )

    rules: ClassVar[tuple[Rule, ...]] = (unique("access_levels"),)


class Claims(SpecModel):
    """Which claims of a token say what."""

    tenant: ShortText = Field(default="tenant", description="Claim that names the tenant.")
    access_levels: ShortText = Field(
        default="access_levels", description="Claim that lists the access levels; one may stand alone."
    )
    scopes: ShortText = Field(
        default="scope", description="Claim that lists the scopes, as a list or separated by spaces."
    )


class Jwt(SpecModel):
    """Tokens of an identity provider."""

    issuer: HttpUrl = Field(description="Issuer that tokens must name.")
    audience: ShortText = Field(description="Audience that tokens must name.")
    jwks_url: HttpUrl = Field(description="JSON Web Key Set of the issuer; read again when a token names another key.")
    claims: Claims = Field(default_factory=Claims, description="Which claims say what.")


class Auth(SpecModel):
    """Who may ask. Nothing set means nobody."""

    anonymous: Anonymous | None = Field(default=None, description="What a caller without credentials may read.")
    jwt: Jwt | None = Field(default=None, description="Tokens of an identity provider.")
    api_keys_secret_ref: CredentialsRef | None = Field(
        default=None, description="Secret with hashed API keys, a file for each; changes count without a restart."
    )


class RateLimit(SpecModel):
    """How often one caller may ask."""

    requests_per_minute: int = Field(default=600, ge=1, le=1_000_000, description="Requests a minute.")
    burst: int = Field(default=60, ge=1, le=1_000_000, description="Requests at once.")


class CircuitBreaker(SpecModel):
    """When a failing dependency is left alone."""

    failure_threshold: int = Field(default=5, ge=1, le=1000, description="Failures in a row that open it.")
    open_seconds: int = Field(default=60, ge=1, le=3600, description="Seconds before one request tries again.")


class Resilience(SpecModel):
    """Bounds of one request and what happens when something fails."""

    timeout_seconds: int = Field(default=30, ge=1, le=600, description="Longest time for one request in seconds.")
    max_concurrent: int = Field(
        default=64, ge=1, le=10_000, description="Requests that one replica works on; more are refused with 503."
    )
    circuit_breaker: CircuitBreaker = Field(
        default_factory=CircuitBreaker, description="When a failing dependency is left alone."
    )
    fallbacks: tuple[Literal["StaleCache", "Extractive"], ...] = Field(
        default=("StaleCache", "Extractive"), max_length=4, description="What stands in for a failed model, in order."
    )

    rules: ClassVar[tuple[Rule, ...]] = (unique("fallbacks"),)


class Jobs(SpecModel):
    """Questions that are answered later."""

    enabled: bool = Field(
        default=False,
        description="Whether the jobs API is served; on a cluster it needs `cache.redis`, which all replicas share.",
    )
    result_ttl_seconds: int = Field(
        default=3600, ge=60, le=604_800, description="How long a result is kept in seconds."
    )


class Autoscaling(SpecModel):
    """How the query service scales."""

    min_replicas: int = Field(default=2, ge=1, le=1000, description="Fewest replicas.")
    max_replicas: int = Field(default=10, ge=1, le=1000, description="Most replicas.")
    target_cpu_percent: int = Field(default=70, ge=1, le=100, description="Wanted use of the requested CPU in percent.")

    rules: ClassVar[tuple[Rule, ...]] = (not_above("min_replicas", "max_replicas"),)


class RolloutGate(SpecModel):
    """What a new revision must reach before it gets traffic."""

    minimum: dict[ShortText, Unit] = Field(
        default_factory=dict, max_length=16, description="Lowest score by metric name."
    )
    max_p95_milliseconds: int | None = Field(default=None, ge=1, le=600_000, description="Slowest 95th percentile.")


class Rollout(SpecModel):
    """How a new revision takes over."""

    strategy: Literal["RollingUpdate", "BlueGreen"] = Field(
        default="RollingUpdate", description="Pod by pod, or beside the old one and then all at once."
    )
    gate: RolloutGate | None = Field(default=None, description="What a new revision must reach first.")


class HttpRoute(SpecModel):
    """A route of the Gateway API."""

    gateway_name: ObjectName = Field(description="Gateway that carries the route.")
    gateway_namespace: NamespaceName | None = Field(default=None, description="Its namespace; left out means the same.")
    hostnames: tuple[HostName, ...] = Field(default=(), max_length=16, description="Host names of the route.")


class Ingress(SpecModel):
    """An Ingress."""

    class_name: ObjectName | None = Field(default=None, description="Ingress class; left out means the default one.")
    host: HostName = Field(description="Host name.")
    tls_secret_name: ObjectName | None = Field(default=None, description="Secret with the certificate.")


class Exposure(SpecModel):
    """How the API is reached from outside."""

    http_route: HttpRoute | None = Field(default=None, description="A route of the Gateway API.")
    ingress: Ingress | None = Field(default=None, description="An Ingress.")
    cors_allow_origins: tuple[HttpUrl, ...] = Field(
        default=(), max_length=32, description="Origins whose pages may call the API; none by default."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        at_most_one("http_route", "ingress", message="set at most one of httpRoute and ingress"),
    )


class Judge(SpecModel):
    """The model that judges answers."""

    model: ModelName = Field(description="Name of the model.")
    server: ModelServer = Field(description="Who runs the model.")


class Evaluation(SpecModel):
    """How the endpoint's answers are scored."""

    schedule: Cron | None = Field(default=None, description="When, in cron's five fields; left out means when asked.")
    golden_set_config_map_ref: ConfigMapKeyRef = Field(description="Questions with known answers, as JSON lines.")
    judge: Judge | None = Field(default=None, description="Model that judges answers; left out means retrieval only.")
    thresholds: dict[ShortText, Unit] = Field(
        default_factory=dict, max_length=16, description="Lowest score by metric name."
    )


class Observability(SpecModel):
    """What is logged and traced."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Lowest level logged.")
    log_query_text: bool = Field(default=False, description="Whether questions may appear in logs.")
    tracing: Tracing | None = Field(default=None, description="Where spans go; left out means nowhere.")


class RagEndpointSpec(SpecModel):
    """One query API over one or more knowledge bases."""

    knowledge_base_refs: tuple[KnowledgeBaseRef, ...] = Field(
        min_length=1,
        max_length=16,
        description="KnowledgeBases that are searched: `name` in the same namespace, `namespace/name` in another one, "
        "whose `allowedNamespaces` must list this one. Secrets that such a KnowledgeBase names have to exist under the "
        "same names in this namespace.",
    )
    retrieval: Retrieval = Field(default_factory=Retrieval, description="How passages are found.")
    reranker: Reranker | None = Field(default=None, description="A cross-encoder; left out means the fused order.")
    generation: Generation | None = Field(
        default=None, description="The language model; left out means answers made of the passages' own sentences."
    )
    cache: Cache = Field(default_factory=Cache, description="The answer cache.")
    auth: Auth = Field(default_factory=Auth, description="Who may ask. Nothing set means nobody.")
    rate_limit: RateLimit = Field(default_factory=RateLimit, description="How often one caller may ask.")
    resilience: Resilience = Field(default_factory=Resilience, description="Bounds of one request.")
    jobs: Jobs = Field(default_factory=Jobs, description="Questions that are answered later.")
    replicas: int | None = Field(
        default=None, ge=0, le=1000, description="Fixed number of replicas; left out, with autoscaling out, means 1."
    )
    autoscaling: Autoscaling | None = Field(default=None, description="How the service scales instead.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision takes over.")
    exposure: Exposure = Field(default_factory=Exposure, description="How the API is reached from outside.")
    evaluation: Evaluation | None = Field(default=None, description="How answers are scored; left out means never.")
    observability: Observability = Field(default_factory=Observability, description="What is logged and traced.")
    network_policy: NetworkPolicy = Field(default_factory=NetworkPolicy, description="Which traffic pods may have.")
    resources: Resources = Field(
        default_factory=lambda: Resources(
            requests={"cpu": "250m", "memory": "256Mi"}, limits={"cpu": "1", "memory": "1Gi"}
        ),
        description="Compute resources of one query pod.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        at_most_one("replicas", "autoscaling", message="set at most one of replicas and autoscaling"),
        unique("knowledge_base_refs"),
    )
