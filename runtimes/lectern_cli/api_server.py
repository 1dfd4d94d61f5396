"""The API server of the kubeconfig's cluster, and its refusals as sentences: for every command that asks a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lectern_contract.errors import ConfigurationError, DependencyError

REQUEST_SECONDS = 20


@dataclass(frozen=True)
class ApiServer:
    """A connection: `objects` for custom resources, `core` for Secrets and pods, `apps` for Deployments."""

    objects: Any
    core: Any
    apps: Any
    refused: type[Any]

    def asked(self, call: Any, *arguments: Any, absent: str | None = None, **options: Any) -> Any:
        """Return the answer to `call`.

        Raises `ConfigurationError` with the sentence `absent` for a 404, and `DependencyError` for every other fault.
        """
        from urllib3.exceptions import HTTPError

        try:
            return call(*arguments, **{"_request_timeout": REQUEST_SECONDS, **options})
        except self.refused as error:
            if error.status == 404 and absent is not None:
                raise ConfigurationError(absent) from error
            reason = f"{error.status} {error.reason}"
            raise DependencyError(f"the API server answers {reason}", dependency="kubernetes") from error
        except (OSError, HTTPError) as error:
            reason = type(error).__name__
            raise DependencyError(f"the API server does not answer ({reason})", dependency="kubernetes") from error


def connect() -> ApiServer:
    """The API server of the kubeconfig; raises `ConfigurationError` when there is none."""
    try:
        from kubernetes import client, config
        from kubernetes.config.config_exception import ConfigException
    except ImportError as error:
        raise ConfigurationError("a cluster needs the package kubernetes: pip install 'lectern[operator]'") from error
    try:
        config.load_config()  # type: ignore[no-untyped-call]  # the package is only partly annotated
    except ConfigException as error:
        raise ConfigurationError(f"no cluster is known ({error}); set KUBECONFIG") from error
    return ApiServer(client.CustomObjectsApi(), client.CoreV1Api(), client.AppsV1Api(), client.ApiException)
