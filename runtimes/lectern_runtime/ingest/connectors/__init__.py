"""One connector per kind of source: each lists documents and fetches their bytes.

`CONNECTORS` is the alphabetical registry by the `kind` of a source's settings; a test holds the two equal. Each
names the module, which is imported when it is used: a container may lack the libraries of the others.
"""

from __future__ import annotations

import importlib

from lectern_contract.errors import ConfigurationError
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.ingest.connector import Connector, Means

CONNECTORS: dict[str, str] = {
    "git": "git",
    "googleDrive": "google_drive",
    "http": "http",
    "persistentVolume": "persistent_volume",
    "s3": "s3",
    "sharePoint": "share_point",
    "wikipedia": "wikipedia",
}


def open_connector(settings: ConnectorSettings, means: Means) -> Connector:
    """The connector for the source of `settings`; each module has a function of this name and shape.

    Raises `ConfigurationError` for a kind of source that this release does not read.
    """
    module = CONNECTORS.get(settings.source.kind)
    if module is None:
        raise ConfigurationError(
            f"IngestionSource/{settings.name}: source {settings.source.kind} has no connector in this release; "
            f"there are {', '.join(CONNECTORS)}"
        )
    opened: Connector = importlib.import_module(f"{__name__}.{module}").open_connector(settings, means)
    return opened
