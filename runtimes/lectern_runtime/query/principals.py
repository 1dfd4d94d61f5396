"""Who asks, and what they may read: the only place that makes a `Principal` and a reader's `Scope`.

The border calls `Callers.authenticate` before the body of a request under /v1 is read; a route then asks for the right
that it needs. Nothing declared means nobody: without `spec.auth` in the resource each request is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lectern_contract.errors import ScopeDenied
from lectern_contract.query_settings import AnonymousSettings
from lectern_contract.scope import FilterValue, Principal, Scope
from lectern_contract.settings import QuerySettings
from lectern_runtime import api_keys
from lectern_runtime.api_keys import ApiKeys, Holder, NotAccepted
from lectern_runtime.http.problems import Refused
from lectern_runtime.query.problems import Problem
from lectern_runtime.query.tokens import Rejected, Tokens

_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key"})
ANONYMOUS_BEARER = "bearer anonymous"
"""What a client that cannot leave the header out (OpenAI's) sends to say that it is anonymous."""


class Right(StrEnum):
    """What a route may ask of its caller, by the name that tokens and API keys give it in their scopes."""

    QUERY = "query"
    RETRIEVE = "retrieve"
    JOBS = "jobs"
    FEEDBACK = "feedback"
    ADMIN = "admin"


ANONYMOUS_RIGHTS = frozenset({Right.QUERY.value, Right.RETRIEVE.value})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, verified, and what their credentials are for."""

    principal: Principal
    scopes: frozenset[str]

    def require(self, right: Right) -> None:
        """Raise `Refused` unless the credentials are for this."""
        if right in self.scopes:
            return
        challenge = f'Bearer realm="lectern", error="insufficient_scope", scope="{right.value}"'
        raise Refused(
            Problem.SCOPE_DENIED,
            f"This route needs the scope {right.value!r} and the credentials lack it; ask for ones that have it.",
            headers={"WWW-Authenticate": challenge},
        )


class NotLetIn(Refused):
    """Nobody is let in with what a request presents; `reason` is one word for the log."""

    def __init__(self, problem: Problem, detail: str, *, reason: str) -> None:
        wrong = problem is Problem.CREDENTIALS_NOT_ACCEPTED
        headers = {"WWW-Authenticate": 'Bearer realm="lectern", error="invalid_token"'} if wrong else {}
        super().__init__(problem, detail, headers=headers)
        self.reason = reason


class Callers:
    """The ways in which callers of one endpoint are known; what is None is not declared."""

    def __init__(
        self, anonymous: AnonymousSettings | None, *, tokens: Tokens | None = None, keys: ApiKeys | None = None
    ) -> None:
        self._anonymous = anonymous
        self._tokens = tokens
        self._keys = keys

    async def authenticate(self, headers: Iterable[tuple[str, str]]) -> Caller:
        """The caller of a request with these headers, repeated ones included, names in lower case.

        Raises `NotLetIn`, or `DependencyError` when nobody can say just now. Credentials that cannot be verified are
        refused rather than ignored: a caller who sends a token expects to be read as its owner, and a quiet downgrade
        to anonymous would answer from other documents than they think.
        """
        given = [(name, value.strip()) for name, value in headers if name in _CREDENTIALS and value.strip()]
        if not given or all(name == "authorization" and value.lower() == ANONYMOUS_BEARER for name, value in given):
            return self._without_credentials()
        scheme, _, presented = given[0][1].partition(" ")
        if len(given) > 1 or given[0][0] != "authorization" or scheme.lower() != "bearer" or not presented.strip():
            raise _not_accepted(f"The credentials are not in one bearer token; {self._next_step()}", "NoBearer")
        if (key := api_keys.presented(given[0][1])) is not None:
            return await self._of_key(key)
        return await self._of_token(presented.strip())

    def _without_credentials(self) -> Caller:
        if self._anonymous is None:
            raise NotLetIn(
                Problem.UNAUTHENTICATED,
                f"This endpoint allows no anonymous access and no credentials were sent; {self._next_step()}",
                reason="NoCredentials",
            )
        principal = Principal("anonymous", self._anonymous.tenant, frozenset(self._anonymous.access_levels))
        return Caller(principal, ANONYMOUS_RIGHTS)

    async def _of_key(self, key: str) -> Caller:
        if self._keys is None:
            raise _not_accepted(f"This endpoint takes no API keys; {self._next_step()}", "NoApiKeys")
        found = await self._keys.holder(key)
        if isinstance(found, NotAccepted):
            detail = "The API key is unknown, withdrawn or expired; ask whoever runs this endpoint for a new one."
            raise _not_accepted(detail, found.reason)
        return _caller("api-key", found)

    async def _of_token(self, token: str) -> Caller:
        if self._tokens is None:
            raise _not_accepted(f"This endpoint verifies no tokens; {self._next_step()}", "NoTokens")
        found = await self._tokens.holder(token)
        if isinstance(found, Rejected):
            raise _not_accepted(found.detail, found.reason.value)
        return _caller("token", found)

    def _next_step(self) -> str:
        """What a caller can do, in the words of what is declared."""
        ways = [f"a token of {self._tokens.issuer}"] if self._tokens is not None else []
        ways += ["an API key (lk_<id>_<secret>)"] if self._keys is not None else []
        if ways:
            return f"send {' or '.join(ways)} as `Authorization: Bearer`."
        if self._anonymous is not None:
            return "send no credentials, or `Authorization: Bearer anonymous`."
        return "nobody is let in until spec.auth of the RagEndpoint declares who may ask."


def _caller(kind: str, holder: Holder) -> Caller:
    """The kind goes before the name, so that a token's subject never passes for a key or for nobody."""
    return Caller(Principal(f"{kind}:{holder.id}", holder.tenant, holder.access_levels), holder.scopes)


def _not_accepted(detail: str, reason: str) -> NotLetIn:
    return NotLetIn(Problem.CREDENTIALS_NOT_ACCEPTED, detail, reason=reason)


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
