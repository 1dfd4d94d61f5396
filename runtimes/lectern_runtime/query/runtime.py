"""What the routes of one app share, as a value: settings, services, pipeline, metrics. `create_app` makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from fastapi import Request

from lectern_contract.scope import FilterValue, Principal
from lectern_contract.settings import QuerySettings
from lectern_runtime.http.faults import request_id_of
from lectern_runtime.query.pipeline import Pipeline
from lectern_runtime.query.principals import Caller, Right
from lectern_runtime.query.services import Services
from lectern_runtime.query.timing import Stopwatch
from lectern_runtime.telemetry.query_metrics import QueryMetrics


@dataclass(frozen=True)
class Runtime:
    """One endpoint at work."""

    settings: QuerySettings
    services: Services
    metrics: QueryMetrics
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Visit:
    """One request at the start of a route: who asks, until when, and its stopwatch."""

    runtime: Runtime
    principal: Principal
    request_id: str
    deadline: float
    watch: Stopwatch


def runtime_of(request: Request) -> Runtime:
    """The runtime of the app that serves the request."""
    return cast(Runtime, request.app.state.runtime)


def visit(request: Request, right: Right) -> Visit:
    """Start the clock of a request whose caller the border knows; raises `Refused` when they lack the right."""
    runtime = runtime_of(request)
    caller = cast(Caller, request.state.caller)
    caller.require(right)
    return Visit(
        runtime=runtime,
        principal=caller.principal,
        request_id=request_id_of(request),
        deadline=asyncio.get_running_loop().time() + runtime.settings.resilience.timeout_seconds,
        watch=Stopwatch(runtime.services.clock),
    )


def as_filters(filters: Mapping[str, Any]) -> dict[str, tuple[FilterValue, ...]]:
    """Filters of a body with each value as a tuple."""
    return {name: tuple(value) if isinstance(value, list) else (value,) for name, value in filters.items()}
