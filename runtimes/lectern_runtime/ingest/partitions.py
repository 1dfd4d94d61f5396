"""Decides which readers a document is for: the partition of its source, or of the longest rule on its path.

Called by `handover.py` for each document. A prefix matches whole parts of a path, as the path prefixes of an
Ingress do: `hr` covers `hr` and `hr/pay.md`, not `hr-public/x.md`. Rules that matched nothing are reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from lectern_contract.errors import ConfigurationError
from lectern_contract.scope import Partition
from lectern_contract.settings import ConnectorSettings, ReceiverSettings


class PartitionRules:
    """The partitions of one source, by path."""

    def __init__(self, settings: ConnectorSettings | ReceiverSettings) -> None:
        """Raises `ConfigurationError` before anything is read when a rule names an unknown access level."""
        default, rules = settings.partition, settings.partition_rules
        for where, level in _named_levels(settings):
            if level not in settings.access_levels:
                raise ConfigurationError(
                    f"IngestionSource/{settings.name}: spec.{where} {level!r} is not an access level of "
                    f"KnowledgeBase/{settings.knowledge_base}, which has {', '.join(settings.access_levels)}"
                )
        self._restricted = settings.restricted_access_level if isinstance(settings, ConnectorSettings) else None
        self._default = Partition(default.tenant, default.access_level)
        self._rules = {
            _clean(rule.path_prefix): (Partition(rule.tenant, rule.access_level), rule.path_prefix) for rule in rules
        }
        self._used: set[str] = set()

    def of(self, path: str) -> Partition:
        """The partition of the document at `path`."""
        prefix = path
        while prefix:
            if prefix in self._rules:
                self._used.add(prefix)
                return self._rules[prefix][0]
            prefix = prefix.rpartition("/")[0]
        if "" in self._rules:
            self._used.add("")
            return self._rules[""][0]
        return self._default

    def restricted(self, path: str) -> Partition | None:
        """The partition of a document that the source lets fewer people read; None: it is for no reader of ours.

        The tenant is that of the rules; only the access level is the one for such documents.
        """
        tenant = self.of(path).tenant
        return Partition(tenant, self._restricted) if self._restricted is not None else None

    def unused(self) -> tuple[str, ...]:
        """Prefixes, as written, of the rules that no document has matched so far: most often a typing error."""
        return tuple(written for prefix, (_, written) in self._rules.items() if prefix not in self._used)


def _named_levels(settings: ConnectorSettings | ReceiverSettings) -> Iterator[tuple[str, str]]:
    """Each field that names an access level, with the level."""
    yield "partition.accessLevel", settings.partition.access_level
    for index, rule in enumerate(settings.partition_rules):
        yield f"partitionRules[{index}].accessLevel", rule.access_level
    if isinstance(settings, ConnectorSettings) and settings.restricted_access_level is not None:
        yield "partition.restrictedAccessLevel", settings.restricted_access_level


def _clean(prefix: str) -> str:
    return "/".join(part for part in prefix.split("/") if part not in ("", "."))
