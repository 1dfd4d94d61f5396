"""Where the spans of a resource's programs go, as a resource says it."""

from __future__ import annotations

from pydantic import Field

from lectern_contract.resources.common import HttpUrl, SpecModel, Unit


class Tracing(SpecModel):
    """Where spans go."""

    endpoint: HttpUrl = Field(
        description="OpenTelemetry collector that takes OTLP over HTTP; `/v1/traces` is appended. An example is "
        "`http://otel-collector.observability:4318`."
    )
    sample_ratio: Unit = Field(
        default="0.1",
        description="Share of the traces begun here that are recorded; a trace that a caller began is recorded where "
        "the caller records it.",
    )


class Traced(SpecModel):
    """What is traced of ingestion."""

    tracing: Tracing | None = Field(
        default=None, description="Where spans of connectors, receivers and workers go; left out means nowhere."
    )
