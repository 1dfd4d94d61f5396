"""How a Kafka cluster lets us in, and what its refusals mean.

Names and passwords are read from their files whenever a connection is made, so that a Secret may change under a
running program. Used by the other modules of the Kafka log.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import errors  # type: ignore[import-untyped]  # published without types

from lectern_contract.settings import KafkaLog as KafkaSettings
from lectern_runtime.errors import LogError

FAILURES = (OSError, EOFError, LookupError, ValueError, AssertionError, NotImplementedError, errors.KafkaError)
"""What a connection can raise; aiokafka words garbage from a stranger's port as ValueError or AssertionError."""
_REFUSED_LOGIN = (errors.SaslAuthenticationFailed, errors.UnsupportedSaslMechanismError)
_REFUSED_RIGHTS = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)


@dataclass(frozen=True, slots=True)
class Access:
    """The servers of a cluster and the way in; holds the names of secret files, never what is in them."""

    settings: KafkaSettings

    @property
    def servers(self) -> str:
        """The servers as the resource names them."""
        return self.settings.bootstrap_servers

    def options(self) -> dict[str, Any]:
        """Return the options of an aiokafka client, read from the files as they are now; raises LogError."""
        settings = self.settings
        found: dict[str, Any] = {
            "bootstrap_servers": [each.strip() for each in settings.bootstrap_servers.split(",")],
            "security_protocol": settings.security_protocol,
            "ssl_context": self._tls(),
        }
        if settings.security_protocol.startswith("SASL"):
            found["sasl_mechanism"] = settings.sasl_mechanism
            found["sasl_plain_username"] = self._secret(settings.username_file, "user name")
            found["sasl_plain_password"] = self._secret(settings.password_file, "password")
        return found

    def _secret(self, file: str | None, what: str) -> str:
        if file is None:
            raise LogError(
                f"{self.servers} asks for a login and the settings name no file with the {what}; "
                "set spec.messaging.credentialsSecretRef"
            )
        try:
            return Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise LogError(
                f"the {what} for {self.servers} cannot be read from {file} ({type(error).__name__}); "
                "check the Secret of spec.messaging.credentialsSecretRef"
            ) from None

    def _tls(self) -> ssl.SSLContext | None:
        if self.settings.security_protocol not in ("SSL", "SASL_SSL"):
            return None
        try:
            return ssl.create_default_context(cafile=self.settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise LogError(
                f"the certificates to know {self.servers} by cannot be read from {self.settings.ca_file} "
                f"({type(error).__name__}); check the Secret of spec.messaging.caSecretRef"
            ) from error

    def explained(self, error: BaseException) -> str:
        """Return in one sentence what `error` means and what to do."""
        return f"{self.servers} {_meaning(error)}"


def _meaning(error: BaseException) -> str:
    match error:
        case errors.IllegalSaslStateError():
            return "takes no login: check spec.messaging.securityProtocol"
        case _ if isinstance(error, _REFUSED_LOGIN):
            return f"refuses the login ({_name(error)}): check the Secret of spec.messaging.credentialsSecretRef"
        case _ if isinstance(error, _REFUSED_RIGHTS):
            return f"lets us in but gives no right to what is asked ({_name(error)}): check its access rules"
        case ssl.SSLCertVerificationError():
            return f"shows a certificate that is not trusted ({_reason(error)}): check spec.messaging.caSecretRef"
        case ssl.SSLError():
            return f"does not speak TLS ({_reason(error)}): check spec.messaging.securityProtocol"
        case socket.gaierror():
            return f"cannot be reached: its name is not known ({error.strerror})"
        case TimeoutError() | errors.RequestTimedOutError() | errors.KafkaTimeoutError():
            return "keeps silent: check that the brokers run and answer"
        case ConnectionResetError() | ConnectionAbortedError() | EOFError() | errors.KafkaConnectionError():
            return "closes the connection: check that the brokers run, and spec.messaging.securityProtocol"
        case OSError():
            return f"cannot be reached ({error.strerror or type(error).__name__}): check that the brokers run"
        case errors.KafkaError():
            return f"cannot do it now ({_name(error)})"
        case _:
            return f"does not speak Kafka's protocol as expected ({type(error).__name__})"


def _name(error: BaseException) -> str:
    return str(getattr(error, "message", None) or type(error).__name__)


def _reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's words; an error that Python made itself has none."""
    return str(getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__)
