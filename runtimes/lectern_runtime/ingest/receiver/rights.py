"""Who may push what: lets the holder of an API key in, and says which partitions are theirs to write.

Called by the border before a body is read. Without a directory of keys nobody is let in.
"""

from __future__ import annotations

from collections.abc import Iterable

from lectern_contract.scope import Partition
from lectern_contract.settings import ReceiverSettings
from lectern_runtime import api_keys
from lectern_runtime.api_keys import ApiKeys, Holder, NotAccepted
from lectern_runtime.http.problems import Refused
from lectern_runtime.ingest.receiver.audit import Audit
from lectern_runtime.ingest.receiver.problems import Problem

NO_KEYS = (
    "Nobody may push to this source, because it has no API keys: name a Secret in spec.push.apiKeysSecretRef, or start "
    "`lectern up` with --api-keys DIR; `lectern api-key` makes a key."
)
_WRONG = "The API key is unknown, withdrawn or expired."


class Rights:
    """The rights at one push source."""

    def __init__(self, settings: ReceiverSettings, keys: ApiKeys | None, audit: Audit) -> None:
        self._levels = frozenset(settings.access_levels)
        self._keys = keys
        self._audit = audit

    async def caller(self, headers: Iterable[tuple[bytes, bytes]], action: str) -> Holder:
        """Who asks; the decision is told. Raises `Refused`, or `DependencyError` when the keys cannot be read."""
        if self._keys is None:
            self._audit.refused("", action, "NoApiKeys")
            raise Refused(Problem.PUSH_NOT_ALLOWED, NO_KEYS)
        given = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
        key = api_keys.presented(given[0]) if len(given) == 1 else None
        if key is None:
            self._audit.refused("", action, "NoKey")
            raise Refused(
                Problem.UNAUTHENTICATED, "Send one API key of this source, as `Authorization: Bearer lk_<id>_<secret>`."
            )
        found = await self._keys.holder(key)
        if isinstance(found, NotAccepted):
            self._audit.refused(found.claimed, action, found.reason)
            raise Refused(Problem.CREDENTIALS_NOT_ACCEPTED, _WRONG)
        if api_keys.PUSH not in found.scopes:
            self._audit.refused(found.id, action, "ScopeMissing", tenant=found.tenant)
            raise Refused(Problem.SCOPE_DENIED, f"The API key {found.id} lacks the scope {api_keys.PUSH}.")
        self._audit.allowed(found.id, action, tenant=found.tenant, access_levels=self.levels(found))
        return found

    def levels(self, holder: Holder) -> tuple[str, ...]:
        """The access levels of the knowledge base that `holder` may write and see, in order."""
        return tuple(sorted(self._levels & holder.access_levels))

    def may(self, holder: Holder, partition: Partition) -> bool:
        """Whether `holder` may write and see documents of `partition`."""
        return partition.tenant == holder.tenant and partition.access_level in self._levels & holder.access_levels
