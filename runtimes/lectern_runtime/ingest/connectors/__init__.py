"""One connector per kind of source: each lists documents and fetches their bytes.

`CONNECTORS` is the alphabetical registry by the `kind` of a source's settings; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable

from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest.connector import Connector
from lectern_runtime.ingest.connectors import persistent_volume

Clock = Callable[[], float]
"""Seconds since 1970 UTC."""

CONNECTORS: dict[str, Callable[[ConnectorSettings, Clock], Connector]] = {
    "persistentVolume": persistent_volume.open_connector,
}


def open_connector(settings: ConnectorSettings, clock: Clock) -> Connector:
    """The connector for the source of `settings`."""
    return CONNECTORS[settings.source.kind](settings, clock)
