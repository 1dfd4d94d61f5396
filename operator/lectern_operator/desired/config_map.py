"""The settings of a runtime as an immutable ConfigMap named by their hash, and how a pod mounts it.

Changed settings are another ConfigMap: a rollout that is half done leaves the old pods their own file.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from lectern_contract import labels, names, settings
from lectern_contract.names import Role
from lectern_contract.settings import AnySettings
from lectern_operator.desired.metadata import Manifest, Owner, metadata, sealed

VOLUME = "settings"
_FILE = PurePosixPath(names.SETTINGS_FILE).name


def settings_config_map(of: Owner, role: Role, content: AnySettings) -> Manifest:
    """Return the ConfigMap that holds `content` as settings.json."""
    digest = settings.config_hash(content)
    name = names.settings_config_map(of.name, role, digest)
    return sealed(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(of, name, role, {labels.SETTINGS: digest}),
            "immutable": True,
            "data": {_FILE: settings.canonical(content)},
        }
    )


def mounted(config_map: Manifest) -> tuple[Manifest, Manifest, dict[str, str]]:
    """Return the volume, the mount and the pod annotation for the ConfigMap `settings_config_map` made."""
    volume = {"name": VOLUME, "configMap": {"name": config_map["metadata"]["name"]}}
    mount = {"name": VOLUME, "mountPath": names.SETTINGS_DIRECTORY, "readOnly": True}
    return volume, mount, {labels.SETTINGS: config_map["metadata"]["annotations"][labels.SETTINGS]}
