"""The problems that every route under /v1 may answer, for the OpenAPI document."""

from __future__ import annotations

from lectern_runtime.http.problems import described
from lectern_runtime.query.problems import Problem

REFUSALS = described(Problem)
