"""The problems that every route under /v1 may answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from lectern_runtime.query.problems import MEDIA_TYPE, Problem, ProblemBody


def _described() -> dict[int | str, dict[str, Any]]:
    by_status: dict[int, list[str]] = {}
    for problem in Problem:
        by_status.setdefault(problem.value.status, []).append(f"`{problem.value.code}`")
    schema = {"$ref": f"#/components/schemas/{ProblemBody.model_config['title']}"}
    return {
        status: {
            "description": f"A problem with the code {' or '.join(codes)}.",
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, codes in sorted(by_status.items())
    }


REFUSALS = _described()
