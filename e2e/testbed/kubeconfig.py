"""Writes kubeconfig files: for the administrator, the controller-manager, users and service accounts of the testbed."""

import json
from pathlib import Path


def write_kubeconfig(path: Path, url: str, ca_file: Path, user: str, token: str) -> Path:
    """Write a kubeconfig (as JSON, which is YAML) for `user` and return its path."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": {"server": url, "certificate-authority": str(ca_file)}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
        "current-context": "testbed",
    }
    path.write_text(json.dumps(content, indent=1))
    path.chmod(0o600)
    return path
