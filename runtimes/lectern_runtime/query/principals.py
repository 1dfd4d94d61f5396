"""Who asks, and what they may read: the only place that makes a `Principal` and a reader's `Scope`.

Every route under /v1 calls `authenticate` before anything else. Nothing declared means nobody: without
`auth.anonymous` in the resource each request is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lectern_contract.errors import ScopeDenied
from lectern_contract.query_settings import AnonymousSettings
from lectern_contract.scope import FilterValue, Principal, Scope
from lectern_contract.settings import QuerySettings
from lectern_runtime.http.problems import Refused
from lectern_runtime.query.problems import Problem

_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key"})
ANONYMOUS_BEARER = "bearer anonymous"
"""What a client that cannot leave the header out (OpenAI's) sends to say that it is anonymous."""


def authenticate(headers: Iterable[tuple[str, str]], anonymous: AnonymousSettings | None) -> Principal:
    """The caller of a request with these headers, repeated ones included, names in lower case. Raises `Refused`.

    Credentials that nobody can verify are refused rather than ignored: a caller who sends a token expects to be read
    as its owner, and a quiet downgrade to anonymous would answer from other documents than they think.
    """
    given = [(name, value.strip()) for name, value in headers if name in _CREDENTIALS and value.strip()]
    if anonymous is None:
        if given:
            raise Refused(
                Problem.CREDENTIALS_NOT_ACCEPTED,
                "This endpoint declares no way to verify credentials and no anonymous access; set spec.auth.",
            )
        raise Refused(
            Problem.UNAUTHENTICATED, "This endpoint allows no anonymous access; declare it in spec.auth.anonymous."
        )
    if any(name != "authorization" or value.lower() != ANONYMOUS_BEARER for name, value in given):
        raise Refused(
            Problem.CREDENTIALS_NOT_ACCEPTED,
            "This endpoint is anonymous and verifies no credentials; send none, or `Authorization: Bearer anonymous`.",
        )
    return Principal("anonymous", anonymous.tenant, frozenset(anonymous.access_levels))


def reader_scopes(
    principal: Principal, settings: QuerySettings, filters: Mapping[str, tuple[FilterValue, ...]]
) -> Mapping[str, Scope]:
    """What `principal` may read of each knowledge base, by its name; those without anything to read are left out.

    A knowledge base that does not declare a filter's field can hold no match and is left out too. Raises `Refused`
    when no knowledge base declares the field, or when nothing at all is left.
    """
    declared = {name for kb in settings.knowledge_bases for name in kb.filterable_fields}
    unknown = sorted(set(filters) - declared)
    if unknown:
        raise Refused(
            Problem.FILTER_NOT_DECLARED,
            f"{unknown[0]!r} is not a declared filter field; declared: {', '.join(sorted(declared)) or 'none'}.",
        )
    scopes: dict[str, Scope] = {}
    for kb in settings.knowledge_bases:
        if not set(filters) <= set(kb.filterable_fields):
            continue
        try:
            scopes[kb.name] = Scope.of_reader(
                principal, known_levels=kb.access_levels, filters=filters, filterable=kb.filterable_fields
            )
        except ScopeDenied:
            continue
    if not scopes:
        raise Refused(Problem.SCOPE_DENIED, "The caller may read none of the documents behind this endpoint.")
    return scopes
